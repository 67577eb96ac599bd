"""An account of its own in a folder, with projects and tasks as files and a stand-in for podman."""

from __future__ import annotations

import json
from pathlib import Path

from fixtures.podman.double import FakePodman


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
