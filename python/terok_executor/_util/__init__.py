"""Parts of the executor that stand on their own."""


def detect_host_timezone() -> str | None:
    """Return the host's time zone as an IANA name: ``$TZ``, ``/etc/timezone``, the target of ``/etc/localtime``.

    Values that are not plain zone names are passed over; ``None`` when nothing is left.
    """
    from terok_native import _lib

    return _lib.base_detect_timezone()
