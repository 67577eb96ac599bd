"""Addresses as they are written in URLs."""


def url_host(host: str) -> str:
    """Return *host* with brackets around an IPv6 address that has none."""
    is_bare_ipv6 = ":" in host and host[:1] != "["
    return "[" + host + "]" if is_bare_ipv6 else host
