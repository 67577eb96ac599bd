"""Tasks in real containers: rootless Podman, the real supervisor, a stand-in for the project's image.

Runs as an unprivileged user: ``tests/host/with-test-host --home DIR tests/host/as-tester .venv/bin/pytest ...``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(REPOSITORY / "tests/host")]

from e2e_site import Site, opened  # noqa: E402
from fixtures.real_image import mapped  # noqa: E402
from lane import no_rootless_podman, pytest_terminal_summary  # noqa: E402, F401
from runner_site import IMAGE, PretendRunner, Projects, build_image  # noqa: E402


@pytest.fixture(scope="package")
def account() -> Iterator[Site]:
    if reason := no_rootless_podman():
        pytest.skip(f"tasks in containers: {reason}")
    build_image()
    mapped(IMAGE)
    # Short, because socket paths below it are limited.
    root = Path(tempfile.mkdtemp(prefix="trun-", dir="/tmp"))
    try:
        with opened(root, "", IMAGE) as site:
            yield site
    finally:
        subprocess.run(["podman", "unshare", "rm", "-rf", "--", str(root)], check=False)


@pytest.fixture(scope="package")
def projects(account: Site) -> Iterator[Projects]:
    made = Projects(account)
    yield made
    for tag in made.tags:
        account.podman("untag", tag, tag, check=False)


@pytest.fixture
def site(account: Site) -> Iterator[Site]:
    """The account, without any container afterwards."""
    yield account
    names = account.podman("ps", "-aq").split()
    if names:
        account.podman("rm", "-f", "-t", "0", *names)


# -- without containers --------------------------------------------------------------------------------------------------


class Pretended:
    """An account whose containers are fixtures; `runtime` has their states, `launches` what was to be launched."""

    def __init__(self, root: Path) -> None:
        from terok_sandbox.runtime import NullRuntime

        self.root, self.runtime, self.launches = root, NullRuntime(), []
        #: The state that launched containers get.
        self.started_as = "running"
        self.settings = root / "config.yml"
        self.settings.write_text("vault: {bypass_no_secret_protection: true}\n")

    def project(self, name: str = "p", /, **sections: object) -> str:
        folder = self.root / "home/.config/terok/projects" / name
        folder.mkdir(parents=True)
        text = json.dumps({"project": {"security_class": "online"}, **sections})
        (folder / "project.yml").write_text(text)
        return name

    def task(self, project: str, **fields: object) -> str:
        """A fresh task, with these keys in its metadata."""
        from terok.lib.orchestration.tasks import task_new
        from terok.lib.orchestration.tasks.meta import update_task_meta

        task = task_new(project)
        update_task_meta(project, task, fields)
        return task

    def meta(self, project: str, task: str) -> dict:
        from terok.lib.orchestration.tasks import read_task_meta, tasks_meta_dir

        return read_task_meta(tasks_meta_dir(project), task) or {}

    def dir(self, project: str, task: str) -> Path:
        from terok.lib.core.projects import load_project

        return Path(load_project(project).tasks_root) / task

    def log(self) -> str:
        path = self.root / "state/core/terok.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    from terok_sandbox import port_registry

    (tmp_path / "home").mkdir()
    (tmp_path / "bin").mkdir()
    for name in [name for name in os.environ if name.startswith(("TEROK_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("TEROK_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(tmp_path / "config.yml"))
    monkeypatch.setenv("TEROK_CONFIG_DIR", str(tmp_path / "home/.config/terok"))
    made = Pretended(tmp_path)
    monkeypatch.setattr(port_registry, "_default", port_registry.PortRegistry(tmp_path / "ports"))
    monkeypatch.setattr("terok.lib.core.runtime.resolve_runtime", lambda project=None: made.runtime)
    monkeypatch.setattr(
        "terok.lib.orchestration.task_runners.container._agent_runner",
        lambda project: PretendRunner(made.runtime, made.launches, made.started_as),
    )
    return made
