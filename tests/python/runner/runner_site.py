"""An account with projects whose image is a small stand-in: real podman, supervisor, vault, gate and git."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_site import Site

HERE = Path(__file__).parent
IMAGE = "localhost/terok-test-runner:latest"


def refused(call: Callable[..., object], *arguments: object, **more: object) -> str:
    """What the user is told who asks for this."""
    with pytest.raises(SystemExit) as caught:
        call(*arguments, **more)
    return str(caught.value)


def free_ports(count: int) -> range:
    """So many ports in a row that nobody uses, none of which the kernel hands out by itself."""
    for first in random.sample(range(20_000, 32_000, count), 100):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("", port)))
            return range(first, first + count)
    raise AssertionError("no ports are free")


def build_image() -> None:
    """Build the stand-in; podman's own cache makes it cheap the second time."""
    import tempfile

    from terok_executor.container.build import make_base_image, stage_scripts

    make_base_image()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        context = Path(folder) / "context"
        shutil.copytree(HERE / "image", context)
        stage_scripts(context / "scripts")
        command = ["podman", "build", "-q", "--pull=never", "-t", IMAGE, "-f", str(context / "Containerfile")]
        done = subprocess.run([*command, str(context)], capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr


class Projects:
    """Makes projects of one account and looks at their tasks."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.tags: list[str] = []
        self._count = 0

    def new(self, *, image: bool = True, **sections: Any) -> str:
        """A project with an image, online and without a repository unless *sections* say otherwise; its id."""
        self._count += 1
        project = f"r{self._count}"
        root = self.site.home / ".config/terok/projects" / project
        root.mkdir(parents=True)
        content = {"project": {"security_class": "online"}, "run": {"shutdown_timeout": 1}, **sections}
        (root / "project.yml").write_text(json.dumps(content))
        tag = f"{project}:l2-cli"
        if image:
            self.site.podman("tag", IMAGE, tag)
        else:
            # The account's store outlives a run that was cut short.
            self.site.podman("untag", tag, tag, check=False)
        self.tags.append(tag)
        return project

    def gate(self, project: str) -> Path:
        """Give the project a git gate with one commit on `main`."""
        from terok.lib.core.projects import load_project

        path = load_project(project).gate_path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.site.git(self.site.root, "clone", "-q", "--bare", str(self.site.repository()), str(path))
        return path

    def meta(self, project: str, task: str) -> dict[str, Any]:
        from terok.lib.orchestration.tasks import read_task_meta, tasks_meta_dir

        return read_task_meta(tasks_meta_dir(project), task) or {}

    def task_dir(self, project: str, task: str) -> Path:
        from terok.lib.core.projects import load_project

        return Path(load_project(project).tasks_root) / task

    def hooks(self, **commands: str) -> dict[str, Any]:
        """A `run` section with hooks."""
        return {"shutdown_timeout": 1, "hooks": commands}


def logged(site: Site) -> str:
    """What the library has written to its log."""
    from terok.lib.core.paths import core_state_dir

    log = core_state_dir() / "terok.log"
    return log.read_text() if log.exists() else ""


class PretendRunner:
    """Stands for the executor's runner: remembers the launch and gives the container a state, without podman."""

    def __init__(self, runtime: Any, launches: list[dict[str, Any]], state: str = "running") -> None:
        self.runtime, self.launches, self.state = runtime, launches, state

    def launch_prepared(self, **launch: Any) -> str:
        self.launches.append(launch)
        self.runtime.set_container_state(launch["name"], self.state)
        return launch["name"]

    def capture_logs(self, container_name: str, dest: Path, **choice: Any) -> bool:
        dest.write_text(f"log of {container_name}\n")
        return True
