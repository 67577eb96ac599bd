"""A user's home with state of one implementation, and the processes that work in it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("library_worker.py")


class Site:
    """A home for one implementation of the library, given by its interpreter.

    With *own_podman* unset the processes keep the user's home, where podman has its store, and all else is theirs.
    """

    def __init__(self, python: Path, folder: Path, *, own_podman: bool = True) -> None:
        self.python = python
        config = folder / "home" / ".config" / "terok"
        config.mkdir(parents=True)
        (folder / "run").mkdir(mode=0o700)
        gone = ("TEROK_", "XDG_", "PYTHON") if own_podman else ("TEROK_", "PYTHON")
        own = {"HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "run")} if own_podman else {}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(gone)}
        self.env = (
            kept
            | own
            | {
                "TEROK_ROOT": str(folder / "state"),
                "TEROK_CONFIG_DIR": str(config),
                "TEROK_CONFIG_FILE": str(config / "config.yml"),
                "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            }
        )

    def worker(self, **changes: str) -> Worker:
        """A new process, with changes of its environment."""
        argv, pipe = [str(self.python), str(WORKER)], subprocess.PIPE
        return Worker(subprocess.Popen(argv, env=self.env | changes, stdin=pipe, stdout=pipe, text=True))


@dataclass
class Worker:
    """A process that takes orders; see `library_worker`."""

    process: subprocess.Popen[str]

    def __call__(self, verb: str, *arguments: object) -> Any:
        """What it answers; `SystemExit` when it ended instead, with its own words on the standard error."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"`{verb}` ended the process with status {self.process.wait()}")
        return json.loads(answer)

    def go_first(self) -> bool:
        """Let it run before the machine's other work; false without the right to."""
        try:
            for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            return False
        return True

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
