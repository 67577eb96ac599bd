"""A user's home on which either implementation works, and the state that both tests and the recording write into it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDED = HERE.parents[1] / "fixtures" / "compat" / "0.8.0"
#: Where the home lies, in recorded files.
MARKER = "@HOME@"
PODMAN = """#!/bin/sh
# A stand-in for a podman that has no containers, but still what they said.
case "$*" in
logs*) echo 'one line' ;;
*exists*) exit 1 ;;
*inspect*) echo 'Error: no such container' >&2; exit 125 ;;
*json*) echo '[]' ;;
esac
"""
CONFIG = """\
# chosen on a Tuesday
tui:
  default_tmux: true   # the usual
git:
  human_name: Ada Example
  human_email: ada@example.org
"""
PROJECT = """\
# the first project
project:
  id: alpha          # never changes
  name: "Alpha: the first"
  security_class: online
git:
  upstream_url: https://git.example/alpha.git
  default_branch: trunk
run:
  memory: 2g
  cpus: 1.5
  shutdown_timeout: 7
  hooks:
    # after the end
    post_stop: "true"
image:
  base_image: ubuntu:24.04
  agents: claude,codex
"""


class State:
    """Configuration, projects and tasks below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "home/.config/terok"
        self.tasks_meta = root / "state/core/projects/alpha/tasks"
        fake = root / "fake"
        for folder in (self.config, fake, root / "run"):
            folder.mkdir(parents=True, exist_ok=True)
        (fake / "podman").write_text(PODMAN)
        (fake / "podman").chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEROK_", "XDG_", "PYTHON"))}
        self.env = kept | {
            "HOME": str(root / "home"),
            "PATH": f"{fake}:{kept['PATH']}",
            "XDG_RUNTIME_DIR": str(root / "run"),
            "TEROK_ROOT": str(root / "state"),
            "TEROK_CONFIG_DIR": str(self.config),
            "TEROK_CONFIG_FILE": str(self.config / "config.yml"),
            "GIT_CONFIG_GLOBAL": str(root / "gitconfig"),
        }

    def do(self, python: str | Path, *orders: Sequence[object]) -> list[Any]:
        """Orders to the library of *python*, obeyed by one process; a failure fails the test with its last words."""
        done = subprocess.run(
            [python, HERE / "compat_driver.py", json.dumps(orders)],
            env=self.env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{orders} on `{python}` failed: {done.stderr.strip().splitlines()[-1:]}"
        return json.loads(done.stdout)

    def settings(self) -> None:
        """The files that a person writes."""
        (self.config / "config.yml").write_text(CONFIG)
        folder = self.config / "projects/alpha"
        folder.mkdir(parents=True)
        (folder / "project.yml").write_text(PROJECT)
        (folder / "instructions.md").write_text("Be brief.\n")

    def history(self, python: str | Path) -> dict[str, str]:
        """What a person does in the first days, done by *python*; the identifiers by what became of each task."""
        self.settings()
        names = ("fresh", "ran", "served", "gone")
        tasks = dict(zip(names, self.do(python, *(["new", "alpha", name] for name in names)), strict=True))
        ran = {
            "mode": "run", "provider": "claude", "unrestricted": True, "ready_at": "2026-01-02T03:04:05+00:00",
            "hooks_fired": ["pre_start", "post_start"], "of_a_later_version": {"list": [1, "two"], "text": "über: #x"},
        }  # fmt: skip
        self.do(
            python,
            ["change", "alpha", tasks["ran"], ran],
            ["ended", "alpha", tasks["ran"], 3],
            ["change", "alpha", tasks["served"], {"mode": "toad", "web_port": 18700, "web_token": "t-0x1f"}],
            ["change", "alpha", tasks["gone"], {"mode": "cli", "preset": "solo"}],
            ["rename", "alpha", tasks["fresh"], "Renamed Once"],
            ["delete", "alpha", tasks["gone"]],
            ["derive", "alpha", "beta"],
            ["choose", "beta", "claude"],
        )
        return tasks

    def recorded(self) -> dict[str, Any]:
        """Put the recorded state in place; what the original showed of it, and its tasks by what became of them."""
        for path in (path for path in (RECORDED / "tree").rglob("*") if path.is_file()):
            parts = path.relative_to(RECORDED / "tree").parts
            target = self.root / ("home/.config" if parts[0] == "config" else parts[0]) / Path(*parts[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text().replace(MARKER, str(self.root)))
        return json.loads((RECORDED / "shown.json").read_text().replace(MARKER, str(self.root)))

    def view(self, python: str | Path) -> dict[str, Any]:
        """Everything that a front end over *python* shows."""
        return self.do(python, ["view"])[0]

    def document(self, python: str | Path, task: str) -> dict[str, Any]:
        """All that is recorded of a task of `alpha`, read by *python*."""
        return self.do(python, ["document", "alpha", task])[0]
