"""Resources, sidecar, journal: what a launch makes, and that nothing of it stays after a failure or a death."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from double import FakePodman
from host.processes import until
from terok_sandbox import SandboxConfig, allocate_per_container_resources, launch


class Db:
    """Remembers what is revoked; a locked one raises."""

    def __init__(self, locked: bool = False) -> None:
        self.locked, self.revoked = locked, []

    def revoke_tokens(self, scope: str, subject: str) -> int:
        if self.locked:
            raise RuntimeError("vault locked")
        self.revoked.append((scope, subject))
        return 1

    def close(self) -> None:
        pass


@pytest.fixture
def db(monkeypatch: pytest.MonkeyPatch) -> Db:
    db = Db()
    monkeypatch.setattr(SandboxConfig, "open_credential_db", lambda self, *a, **k: db)
    return db


def traces(cfg: SandboxConfig) -> set[str]:
    roots = (Path(cfg.state_dir), Path(cfg.runtime_dir))
    found = {str(p.relative_to(root)) for root in roots for p in root.rglob("*") if p.name not in (".lock", ".swept")}
    of_all = {"podman", "podman/containers.conf", "podman/seccomp-standard.json", "podman-info.json"}
    return found - of_all - {"launches", "run", "sidecar", "sandbox", "sandbox/runs"}


def make(cfg: SandboxConfig, temp: Path) -> launch.PerContainerResources:
    made = allocate_per_container_resources(cfg, "c1")
    launch.note_temp_dir("c1", temp, cfg=cfg)
    temp.mkdir()
    (temp / "f").touch()
    launch.note_token("c1", "default", "run1", cfg=cfg)
    assert launch.write_sidecar("c1", cfg=cfg, per_container=made) is not None
    return made


class TestResources:
    def test_socket_mode(self, cfg: SandboxConfig) -> None:
        made = allocate_per_container_resources(cfg, "c1")
        assert made == launch.PerContainerResources(Path(cfg.runtime_dir) / "run" / "c1", None, None, None)
        assert stat.S_IMODE(made.container_runtime_dir.stat().st_mode) == 0o700

    def test_tcp_mode(self, cfg: SandboxConfig) -> None:
        made = allocate_per_container_resources(dataclasses.replace(cfg, services_mode="tcp"), "c1")
        assert len({made.token_broker_port, made.ssh_signer_port, made.gate_port} - {None}) == 3

    @pytest.mark.parametrize("name", ["../../x", "", ".", "a/b", "a b", "-a", "n" * 200])
    def test_unsafe_names(self, cfg: SandboxConfig, name: str) -> None:
        for call in (
            lambda: allocate_per_container_resources(cfg, name),
            lambda: launch.begin(name, cfg=cfg),
            lambda: launch.cleanup(name, cfg=cfg),
            lambda: launch.prove_supervised(name, cfg=cfg),
        ):
            with pytest.raises(ValueError, match="unsafe container name"):
                call()
        assert traces(cfg) == set()

    def test_a_container_of_that_name_is_not_touched(self, podman: FakePodman, cfg: SandboxConfig) -> None:
        (Path(cfg.runtime_dir) / "run" / "c1").mkdir(parents=True)
        podman.plays("echo running")
        with pytest.raises(SystemExit, match=r"`c1` is already in use(.|\n)*podman rm -f c1"):
            allocate_per_container_resources(cfg, "c1")
        assert traces(cfg) == {"run/c1"}
        podman.plays("exit 125")
        allocate_per_container_resources(cfg, "c1")


class TestSidecar:
    # improves: 21-7.1-sidecar-private
    def test_content(self, cfg: SandboxConfig, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith(("TEROK_", "XDG_", "SSL_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("TEROK_ROOT", "/state")
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/not/passed/on")
        tcp = dataclasses.replace(cfg, services_mode="tcp")
        made = allocate_per_container_resources(tcp, "c1")
        path = launch.write_sidecar(
            "c1",
            cfg=tcp,
            per_container=made,
            project_id="p",
            task_id="t",
            dossier_path=Path("/d.json"),
            gate_base_path=Path("/g"),
            gate_token="terok-g-1",
            gate_port=made.gate_port,
        )
        assert path == Path(cfg.state_dir) / "sidecar" / "c1.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(json.loads(path.read_text()).items()) == [
            ("container_name", "c1"),
            ("ipc_mode", "tcp"),
            ("db_path", str(cfg.db_path)),
            ("scope_id", ""),
            ("project_id", "p"),
            ("task_id", "t"),
            ("runtime_dir", str(cfg.runtime_dir)),
            ("tcp_port", made.token_broker_port),
            ("ssh_signer_port", made.ssh_signer_port),
            ("dossier_path", "/d.json"),
            ("gate_base_path", "/g"),
            ("gate_token", "terok-g-1"),
            ("gate_port", made.gate_port),
            ("environment", {"TEROK_ROOT": "/state"}),
        ]

    def test_refusals(self, cfg: SandboxConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        made = launch.PerContainerResources(tmp_path, None, None, None)
        for name in ("", ".", "..", "a/b", "a\\b"):
            with pytest.raises(ValueError, match="name"):
                launch.write_sidecar(name, cfg=cfg, per_container=made)
        target = tmp_path / "target"
        target.write_text("untouched")
        place = Path(cfg.state_dir) / "sidecar"
        place.mkdir(parents=True)
        (place / "c1.json").symlink_to(target)
        assert launch.write_sidecar("c1", cfg=cfg, per_container=made) is None
        assert "Warning" in capsys.readouterr().err and target.read_text() == "untouched"


class TestJournal:
    def test_a_failed_launch_leaves_nothing(self, podman: FakePodman, cfg: SandboxConfig, db: Db, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), launch.guarded("c1", cfg=cfg):
            make(cfg, tmp_path / "temp")
            raise ZeroDivisionError
        assert (traces(cfg), db.revoked, (tmp_path / "temp").exists()) == (set(), [("default", "run1")], False)

    def test_a_finished_one_is_cleaned_up_once(self, cfg: SandboxConfig, db: Db, tmp_path: Path) -> None:
        with launch.guarded("c1", cfg=cfg), launch.guarded("c1", cfg=cfg):
            make(cfg, tmp_path / "temp")
        assert (tmp_path / "temp").exists() and "launches/c1.json" not in traces(cfg)
        assert launch.cleanup("c1", cfg=cfg) is True
        assert (traces(cfg), db.revoked, (tmp_path / "temp").exists()) == (set(), [("default", "run1")], False)
        assert launch.cleanup("c1", cfg=cfg) is False

    def test_what_cannot_be_revoked_is_said_and_tried_again(
        self, cfg: SandboxConfig, db: Db, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make(cfg, tmp_path / "temp")
        db.locked = True
        launch.abandon("c1", cfg=cfg)
        assert "vault locked" in capsys.readouterr().err
        db.locked = False
        assert launch.recover(cfg=cfg) == ["c1"]
        assert (traces(cfg), db.revoked) == (set(), [("default", "run1")])

    def test_one_launch_of_a_name_at_a_time(self, cfg: SandboxConfig, tmp_path: Path) -> None:
        code = (
            "import sys, time; from pathlib import Path; from terok_sandbox import SandboxConfig, launch\n"
            f"r = Path({str(tmp_path)!r}); cfg = SandboxConfig(state_dir=r/'s', runtime_dir=r/'r')\n"
            "launch.begin('c1', cfg=cfg); print('begun', flush=True); time.sleep(60)"
        )
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment())
        assert other.stdout is not None and other.stdout.readline() == b"begun\n"
        try:
            with pytest.raises(SystemExit, match=f"process {other.pid} is launching `c1`"):
                launch.begin("c1", cfg=cfg)
        finally:
            other.kill()
            other.communicate()
        launch.begin("c1", cfg=cfg)
        launch.abandon("c1", cfg=cfg)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


STEPS = ["begun", "allocated", "temp noted", "temp made", "token noted", "sidecar written", "podman called"]
DYING = """
import os, signal, sys
from pathlib import Path
from terok_sandbox import RunSpec, Sandbox, SandboxConfig, launch
root, step = Path(sys.argv[1]), sys.argv[2]
cfg = SandboxConfig(state_dir=root / "s", runtime_dir=root / "r", vault_dir=root / "v", services_mode="socket", allow_root=True)
def at(name):
    if name == step: os.kill(os.getpid(), signal.SIGKILL)
with launch.guarded("c1", cfg=cfg):
    at("begun")
    made = launch.allocate_per_container_resources(cfg, "c1"); at("allocated")
    launch.note_temp_dir("c1", root / "temp", cfg=cfg); at("temp noted")
    (root / "temp").mkdir(); at("temp made")
    launch.note_token("c1", "default", "run1", cfg=cfg); at("token noted")
    launch.write_sidecar("c1", cfg=cfg, per_container=made); at("sidecar written")
    os.environ["LAUNCHER"] = str(os.getpid())
    Sandbox(cfg).run(RunSpec("c1", "img", {}, (), (), root))
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_launcher_killed_at_any_step_leaves_nothing_after_the_next_command(
    podman: FakePodman, cfg: SandboxConfig, db: Db, tmp_path: Path, step: str
) -> None:
    # The stand-in kills its launcher in the middle of `podman run`, ends a moment later, and then knows a container.
    sidecar = Path(cfg.state_dir) / "sidecar" / "c1.json"
    inspection: list[Any] = [
        {
            "Id": "abc",
            "Created": "2999-01-01T00:00:00Z",
            "State": {"Status": "running"},
            "Config": {"Annotations": {"terok.sandbox.sidecar": str(sidecar)}},
        }
    ]
    podman.plays(
        f"""case "$1" in run) kill -9 $LAUNCHER; sleep 0.3; touch "$here/made";;
        rm) rm -f "$here/made";;
        container) [ -e "$here/made" ] || {{ echo no such container >&2; exit 125; }}; echo '{json.dumps(inspection)}';; esac"""
    )
    died = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path), step], env=environment(), capture_output=True, timeout=60
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert "launches/c1.json" in traces(cfg)
    if step == "podman called":
        assert until((podman.folder / "made").exists)
    assert launch.recover(cfg=cfg) == ["c1"]
    assert traces(cfg) == set() and not (tmp_path / "temp").exists()
    assert not (podman.folder / "made").exists()
    assert db.revoked == ([("default", "run1")] if STEPS.index(step) >= STEPS.index("token noted") else [])
