"""Addresses as they are written in URLs."""


def url_host(host: str) -> str:
    """Return *host* with brackets around an IPv6 address that has none."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
