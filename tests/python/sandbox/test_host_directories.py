"""Host directories that a launch refuses: the table that the Rust tests use as well, overrides, and their record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from double import FakePodman
from terok_sandbox import RunSpec, Sandbox, SandboxConfig, VolumeSpec
from terok_sandbox._wiring import check_podman_args

TABLE = json.loads((Path(__file__).parents[2] / "fixtures/sandbox/host_directories.json").read_text())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of this test's own, with keys, a project and the table's links."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / "project").mkdir()
    monkeypatch.setenv("HOME", str(home))
    for link, target in TABLE["links"]:
        Path(link.replace("HOME", str(home))).symlink_to(target.replace("HOME", str(home)))
    return home


def spec(path: Path, task_dir: Path, **changes: Any) -> RunSpec:
    volumes = (VolumeSpec(path, "/workspace", "private"),)
    return RunSpec("c1", "img:1", {}, volumes, ("true",), task_dir, **changes)


# holds: dangerous-host-directories
def test_a_launch_refuses_what_the_table_refuses(
    home: Path, cfg: SandboxConfig, podman: FakePodman, tmp_path: Path
) -> None:
    places = {"HOME": home, "STATE": cfg.state_dir, "RUNTIME": cfg.runtime_dir, "TASK": tmp_path / "task"}

    def path(text: str) -> Path:
        name = next((name for name in places if text.startswith(name)), "")
        return Path(f"{places[name]}{text.removeprefix(name)}" if name else text)

    # The test's state lies in the same directory as its home.
    for text, why in TABLE["refused"]:
        with pytest.raises(SystemExit) as refused:
            Sandbox(cfg).run(spec(path(text), tmp_path / "task"))
        assert str(refused.value).startswith(f"cannot mount `{path(text)}`: {why}"), text
        assert "--allow-dangerous-mount" in str(refused.value)
    assert podman.calls == []
    for text in TABLE["accepted"]:
        Sandbox(cfg).run(spec(path(text), tmp_path / "task"))
    assert len(podman.calls) == len(TABLE["accepted"])


# holds: dangerous-host-directories
def test_podman_options_are_no_way_around(home: Path, cfg: SandboxConfig, podman: FakePodman, tmp_path: Path) -> None:
    for options in (("-v", f"{home}/.ssh:/x"), (f"--volume={home}:/x:ro",), ("--mount", "type=bind,src=/,dst=/x")):
        with pytest.raises(SystemExit, match="cannot mount"):
            Sandbox(cfg).run(spec(home / "project", tmp_path / "t", extra_args=options))
        with pytest.raises(SystemExit, match="cannot mount"):
            check_podman_args([*options, "img"])
    assert podman.calls == []


# holds: dangerous-host-directories
@pytest.mark.parametrize("way", ["field", "variable"])
def test_an_override_is_recorded_on_the_container(
    way: str, home: Path, cfg: SandboxConfig, podman: FakePodman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: dict[str, Any] = {}
    if way == "field":
        fields["allow_dangerous_mounts"] = (home,)
    else:
        monkeypatch.setenv("TEROK_ALLOW_DANGEROUS_MOUNTS", f"/nonexistent:{home}")
    Sandbox(cfg).run(spec(home, tmp_path / "t", **fields))
    (call,) = podman.calls
    assert call[call.index("--label") + 1] == f"terok.dangerous-mounts={home}"
    with pytest.raises(SystemExit, match="SSH keys"):
        Sandbox(cfg).run(spec(home / ".ssh", tmp_path / "t", **fields))
