"""Text for terminals: colours, answers, and lines that wrap under themselves."""

import textwrap
import unicodedata

from terok.lib.util.ansi import blue, bold, color, green, hyperlink, red, supports_color, yellow

__all__ = [
    "blue",
    "bold",
    "cell_len",
    "color",
    "gray",
    "green",
    "hyperlink",
    "red",
    "supports_color",
    "violet",
    "wrap_with_hanging_indent",
    "yellow",
    "yes_no",
]


def violet(text: str, enabled: bool) -> str:
    """Return violet text."""
    return color(text, "35", enabled)


def gray(text: str, enabled: bool) -> str:
    """Return gray text."""
    return color(text, "90", enabled)


def yes_no(value: bool, enabled: bool) -> str:
    """Return a green ``yes`` or a red ``no``."""
    return green("yes", enabled) if value else red("no", enabled)


def cell_len(text: str) -> int:
    """Return how many cells of a terminal *text* takes."""
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrap_with_hanging_indent(prefix: str, body: str, suffix: str, width: int) -> str:
    """Return the three texts on lines of at most *width* cells; lines after the first begin below *body*.

    Without a width, or when the prefix leaves no room, everything is one line.
    """
    whole = f"{prefix}{body}{suffix}"
    indent = cell_len(prefix)
    if width <= 0 or cell_len(whole) <= width or indent >= width:
        return whole
    lines = textwrap.wrap(body, width - indent) or [""]
    if cell_len(lines[-1]) + cell_len(suffix) <= width - indent:
        lines[-1] += suffix
    elif tail := suffix.lstrip():
        lines.append(tail)
    return prefix + f"\n{' ' * indent}".join(lines)
