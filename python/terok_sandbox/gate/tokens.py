"""Gate tokens: made for one container, and the record of them that the older generation keeps."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from terok_sandbox.config import SandboxConfig


def mint_gate_token() -> str:
    """A fresh token: ``terok-g-`` and 32 lower-case hex characters from the system's random source."""
    return "terok-g-" + secrets.token_hex(16)


class TokenStore:
    """The file with the tokens of all tasks: a JSON object ``{token: {"scope": str, "task": str}}``, mode 0600.

    A supervisor gets its token from the sidecar and never reads this file.
    """

    def __init__(self, cfg: SandboxConfig | None = None) -> None:
        from terok_sandbox.config import SandboxConfig

        self._path = (cfg or SandboxConfig()).gate_base_path / "tokens.json"

    @property
    def file_path(self) -> Path:
        """The file."""
        return self._path

    def create(self, scope: str, task_id: str) -> str:
        """Make, record and return a token; raises ``OSError`` when the file cannot be written."""
        token = mint_gate_token()
        self._change(lambda tokens: tokens | {token: {"scope": scope, "task": task_id}})
        return token

    def revoke_for_task(self, scope: str, task_id: str) -> None:
        """Forget the tokens of a task; nothing happens when there are none."""
        gone = {"scope": scope, "task": task_id}
        self._change(lambda tokens: {token: labels for token, labels in tokens.items() if labels != gone})

    def _change(self, change: Callable[[dict[str, dict[str, str]]], dict[str, dict[str, str]]]) -> None:
        import fcntl
        import json
        import os
        import tempfile

        parent = self._path.parent
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(parent / "tokens.json.lock", flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._read()
            after = change(before)
            if after == before:
                return
            fd, name = tempfile.mkstemp(dir=parent, prefix=".tokens-")
            try:
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    file.write(json.dumps(after, indent=2) + "\n")
                os.replace(name, self._path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        finally:
            os.close(lock)

    def _read(self) -> dict[str, dict[str, str]]:
        import json

        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("not an object")
        except FileNotFoundError:
            return {}
        except ValueError:
            self._path.replace(self._path.with_name("tokens.json.corrupt"))
            return {}
        return {
            token: {"scope": labels["scope"], "task": labels["task"]}
            for token, labels in found.items()
            if isinstance(labels, dict) and isinstance(labels.get("scope"), str) and isinstance(labels.get("task"), str)
        }
