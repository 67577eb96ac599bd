"""Colours and links for terminals; whether they are wanted is the caller's to say."""

import os
import sys


def supports_color() -> bool:
    """Tell whether standard output shows colours: ``NO_COLOR``, then ``FORCE_COLOR``, then whether it is a terminal."""
    if "NO_COLOR" in os.environ:
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False


def color(text: str, code: str, enabled: bool) -> str:
    """Return *text* in the colour of an SGR *code*."""
    return f"\x1b[{code}m{text}\x1b[0m" if enabled else text


def bold(text: str, enabled: bool) -> str:
    """Return bold text."""
    return color(text, "1", enabled)


def red(text: str, enabled: bool) -> str:
    """Return red text."""
    return color(text, "31", enabled)


def green(text: str, enabled: bool) -> str:
    """Return green text."""
    return color(text, "32", enabled)


def yellow(text: str, enabled: bool) -> str:
    """Return yellow text."""
    return color(text, "33", enabled)


def blue(text: str, enabled: bool) -> str:
    """Return blue text."""
    return color(text, "34", enabled)


def hyperlink(text: str, url: str, *, enabled: bool) -> str:
    """Return *text* as a link; equal addresses are one link to the terminal, also across lines."""
    if not enabled:
        return text
    mark = hash(url) & 0xFFFF_FFFF
    return f"\x1b]8;id={mark};{url}\x1b\\{text}\x1b]8;;\x1b\\"
