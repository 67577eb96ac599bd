"""Writes docs/reference/: the environment variables and the command line, from what the program itself knows.

With --check nothing is written; the status is 1 when a page is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"


def environment() -> Iterator[str]:
    """One row per variable that is read."""
    from terok_native import _lib

    yield "# Environment variables\n\nAn empty value counts as unset.\n"
    yield "| Variable | Kind | Meaning |\n|---|---|---|"
    for name, kind, meaning in sorted(_lib.base_env_table()):
        yield f"| `{name}` | {kind} | {meaning} |"


def command_line() -> Iterator[str]:
    """One section per verb, with its arguments and their defaults."""
    from terok_executor import COMMANDS
    from terok_executor.cli import _with_extras

    yield "# Command line of terok-executor\n\nOptions in front of the verb: `--version`, `--config PATH`, `--raw`.\n"
    for path, node in _with_extras(COMMANDS).walk():
        if node.handler is None:
            continue
        yield f"## {' '.join(path)}\n\n{node.help}.\n"
        for argument in node.args:
            default = "" if argument.default in (None, False, True) else f" (default `{argument.default}`)"
            yield f"- `{argument.name}`: {argument.help}{default}"
        if node.args:
            yield ""


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = []
    for name, lines in (("environment.md", environment()), ("command-line.md", command_line())):
        text = "\n".join(lines).rstrip() + "\n"
        page = PAGES / name
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            PAGES.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
    verdict = "out of date" if check else "written"
    print(f"reference: {', '.join(stale)} {verdict}" if stale else "reference: up to date")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
