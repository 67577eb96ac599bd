"""The failure of a program that the firewall runs."""

from __future__ import annotations

from collections.abc import Sequence

from terok_native.kept import kept
from terok_util.shell import command_line
from terok_util.tty import clean_text


@kept
class ExecError(Exception):
    """A program ended with a status other than 0; ``cmd``, ``rc`` and ``stderr`` are attributes."""

    def __init__(self, cmd: Sequence[str], rc: int, stderr: str) -> None:
        why = clean_text(stderr).strip() or "without a word"
        super().__init__(f"`{command_line(*cmd)}` ended with status {rc}: {why}")
        self.cmd, self.rc, self.stderr = list(cmd), rc, stderr
