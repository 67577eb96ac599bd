"""Projects in an account of their own. The image store is a stand-in unless a test says that it is real."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "fixtures" / "podman")]

from image_store import ImageStore  # noqa: E402


class Account:
    """A home directory with projects; `store` holds the images and containers of the stand-in."""

    def __init__(self, root: Path, store: ImageStore) -> None:
        self.root, self.store = root, store
        self.projects = root / "home/.config/terok/projects"

    def project(self, project: str = "p1", *, text: str | None = None, **sections: dict) -> str:
        """A project on Debian with one agent; further sections are merged into its configuration."""
        content: dict = {"project": {"security_class": "online"}, "image": {"base_image": "debian:13", "agents": "claude"}}
        for name, section in sections.items():
            content[name] = {**content.get(name, {}), **section}
        folder = self.projects / project
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "project.yml").write_text(json.dumps(content) if text is None else text)
        return project

    def stage(self, project: str = "p1") -> Path:
        return self.root / "state/core/build" / project

    def manifest(self, project: str = "p1") -> dict:
        return json.loads((self.stage(project) / "build_manifest.json").read_text())

    def task_file(self, project: str, task: str, size: int, part: str = "workspace-dangerous") -> None:
        file = self.root / "state/sandbox-live/tasks" / project / task / part / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    from terok.lib.core import images
    from terok.lib.integrations import sandbox

    for name in [name for name in os.environ if name.startswith(("TEROK_", "XDG_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/config.yml").write_text("vault: {bypass_no_secret_protection: true}\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("TEROK_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(tmp_path / "home/config.yml"))
    store = ImageStore()
    monkeypatch.setattr(sandbox, "PodmanRuntime", lambda: store)
    images.installed_agents.cache_clear()
    return Account(tmp_path, store)
