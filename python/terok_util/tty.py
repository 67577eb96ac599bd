"""Text from outside, made safe for a terminal."""

from terok_native import _lib


def sanitize_tty(s: str) -> str:
    r"""Return *s* with line breaks and tabs as spaces and other control or format characters as ``\xNN``."""
    try:
        return _lib.base_sanitize_tty(s)
    except UnicodeEncodeError:
        # Undecodable bytes of a file name arrive as lone surrogates, which no UTF-8 text can carry.
        return _lib.base_sanitize_tty("".join(_visible(c) for c in s))


def _visible(char: str) -> str:
    return f"\\x{ord(char):x}" if 0xD800 <= ord(char) <= 0xDFFF else char
