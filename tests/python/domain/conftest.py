"""An account of its own in a folder, with projects and tasks as files and a stand-in for podman."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fixtures.podman.double import FakePodman, first_on_path


class House:
    """One user's settings and state; ``podman`` answers what it was told to."""

    def __init__(self, root: Path, podman: FakePodman) -> None:
        self.root, self.podman = root, podman
        self.projects = root / "config/terok/projects"
        self.settings = root / "config/terok/config.yml"
        self.settings.parent.mkdir(parents=True)

    def project(self, project_id: str = "demo", text: str = "project: {security_class: online}\n") -> Path:
        folder = self.projects / project_id
        folder.mkdir(parents=True)
        (folder / "project.yml").write_text(text)
        return folder

    def task(self, project_id: str = "demo", **changes: object) -> str:
        from terok.lib.orchestration import tasks

        task_id = tasks.task_new(project_id, name="a-task")
        if changes:
            tasks.update_task_meta(project_id, task_id, changes)
        return task_id

    def containers(self, **states: str) -> None:
        """What `podman ps` says; in names, two underscores stand for a dash."""
        rows = [{"Names": [name.replace("__", "-")], "State": state} for name, state in states.items()]
        self.podman.answer("ps", stdout=json.dumps(rows))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    for name in [name for name in os.environ if name.startswith(("TEROK_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name, folder in (
        ("HOME", "home"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_RUNTIME_DIR", "run"),
    ):
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("TEROK_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("TEROK_CONFIG_DIR", str(tmp_path / "config/terok"))
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(tmp_path / "config/terok/config.yml"))
    monkeypatch.setenv("TEROK_VAULT_DIR", str(tmp_path / "state/vault"))
    monkeypatch.setenv("TEROK_SANDBOX_STATE_DIR", str(tmp_path / "state/sandbox"))
    return House(tmp_path, first_on_path(tmp_path / "fake", monkeypatch))
