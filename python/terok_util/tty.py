"""Text from outside, made safe for a terminal."""

from __future__ import annotations

import sys

from terok_native import _lib

__all__ = ["clean_text", "sanitize_tty", "write_text"]


def sanitize_tty(s: str) -> str:
    r"""Return *s* with line breaks and tabs as spaces and other control or format characters as ``\xNN``."""
    try:
        return _lib.base_sanitize_tty(s)
    except UnicodeEncodeError:
        # Undecodable bytes of a file name arrive as lone surrogates, which no UTF-8 text can carry.
        return _lib.base_sanitize_tty("".join(_visible(c) for c in s))


def clean_text(text: str | bytes) -> str:
    """Return *text* without control and format characters; line breaks and tabs stay.

    For several lines that a container, a repository or another program wrote.
    """
    return _lib.base_clean_block(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))


def write_text(text: str) -> None:
    """Write *text* to standard output as it is now, in UTF-8 where the stream takes bytes, and flush it."""
    out = getattr(sys.stdout, "buffer", None)
    if out is None:
        sys.stdout.write(text)
    else:
        sys.stdout.flush()
        out.write(text.encode("utf-8", "replace"))
    sys.stdout.flush()


def _visible(char: str) -> str:
    return f"\\x{ord(char):x}" if 0xD800 <= ord(char) <= 0xDFFF else char
