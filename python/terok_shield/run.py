"""The failure of a program that the firewall runs."""

from __future__ import annotations

from collections.abc import Sequence

from terok_native.kept import kept


@kept
class ExecError(Exception):
    """A program ended with a status other than 0; ``cmd``, ``rc`` and ``stderr`` are attributes."""

    def __init__(self, cmd: Sequence[str], rc: int, stderr: str) -> None:
        super().__init__(f"`{' '.join(cmd)}` ended with status {rc}: {stderr.strip() or 'without a word'}")
        self.cmd, self.rc, self.stderr = list(cmd), rc, stderr
