"""Logs of agents, told to a person.

What an agent prints is not to be trusted: control sequences are taken out, and a line that is no record of the expected
form is shown as the text that it is.
"""

from __future__ import annotations

import sys
from typing import Protocol, runtime_checkable

from terok_native import _lib


@runtime_checkable
class AgentLogFormatter(Protocol):
    """Takes a log line by line."""

    def feed_line(self, line: str) -> None:
        """Print what there is to say about one line."""

    def finish(self) -> None:
        """Print what there is to say at the end; called once, also after an interruption."""


class PlainTextFormatter:
    """Prints every line as it is; of control sequences only colours are left."""

    def feed_line(self, line: str) -> None:
        """Print the line."""
        _print(_lib.task_clean_log(_valid(line).rstrip("\r\n")) + "\n")

    def finish(self) -> None:
        """Print nothing."""


class ClaudeStreamJsonFormatter:
    """Tells the ``stream-json`` records of Claude Code: texts, tools, their results and the sum at the end."""

    def __init__(self, *, streaming: bool = True, color: bool | None = None) -> None:
        """Begin a log.

        Args:
            streaming: Show texts piece by piece where the log has pieces.
            color: Whether to use colours; by default when standard output can show them.
        """
        from terok.lib.util import ansi

        self._log = _lib.ClaudeLogRef(streaming, ansi.supports_color() if color is None else color)

    def feed_line(self, line: str) -> None:
        """Print what one record says."""
        _print(self._log.feed(_valid(line)))

    def finish(self) -> None:
        """End what is open, and print the sum to standard error."""
        rest, summary = self._log.finish()
        _print(rest)
        if summary:
            sys.stderr.write(summary)
            sys.stderr.flush()


def auto_detect_formatter(
    mode: str | None, *, streaming: bool = True, color: bool | None = None, provider: str | None = None
) -> AgentLogFormatter:
    """Return the formatter for a task of this mode and provider: plain text unless Claude Code ran headless."""
    if mode == "run" and provider in (None, "claude"):
        return ClaudeStreamJsonFormatter(streaming=streaming, color=color)
    return PlainTextFormatter()


def _valid(line: str) -> str:
    """The line with replacement characters for what is no character."""
    return line.encode("utf-8", "replace").decode("utf-8") if any("\ud800" <= c <= "\udfff" for c in line) else line


def _print(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
