"""What the generation with services for the whole host left is removed, and nothing else."""

import socket
from pathlib import Path

import pytest
from terok_sandbox import SandboxConfig
from terok_sandbox.older_services import sweep_leftovers, sweep_units

#: A fake: notes what it is asked, and of a unit whether its file was still there.
SYSTEMCTL = """#!/bin/bash
shift
for unit in "${@:3}"; do [ -e "$XDG_CONFIG_HOME/systemd/user/$unit" ] && there=" there"; done
echo "$*${there:-}" >>"$ASKED"
exit 1
"""
MARKED = {
    "terok-clearance-hub.service": "clearance-hub",
    "terok-clearance-verdict.service": "clearance-verdict",
    "terok-clearance-notifier.service": "clearance-notifier",
    "terok-vault.socket": "vault",
    "terok-vault.service": "vault",
    "terok-vault-socket.service": "vault",
    "terok-gate.socket": "gate",
    "terok-gate@.service": "gate",
    "terok-gate-socket.service": "gate",
}


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's units, with all of that generation and a service manager that can do nothing."""
    folder = tmp_path / "config" / "systemd" / "user"
    folder.mkdir(parents=True)
    for name, mark in MARKED.items():
        (folder / name).write_text(f"# terok-{mark}-version: 3\n[Unit]\n")
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
    return folder


def listen(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def test_every_unit_is_disabled_while_its_file_is_there(units: Path, tmp_path: Path) -> None:
    assert sweep_leftovers(SandboxConfig(runtime_dir=tmp_path / "run")) == list(MARKED)
    assert not list(units.iterdir())
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [*(f"disable --now {name} there" for name in MARKED), "daemon-reload"]


def test_units_go_without_a_service_manager(units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert len(sweep_units("vault")) == 3
    assert sorted(path.name for path in units.iterdir()) == sorted(n for n, mark in MARKED.items() if mark != "vault")


def test_what_lacks_the_mark_or_is_a_link_stays(units: Path, tmp_path: Path) -> None:
    (units / "terok-gate.socket").write_text("[Socket]\n# terok-gate-version: 13\n")
    link, target = units / "terok-gate@.service", tmp_path / "elsewhere"
    link.rename(target)
    link.symlink_to(target)
    assert sweep_units("gate") == ["terok-gate-socket.service"]
    assert (units / "terok-gate.socket").exists() and link.is_symlink() and target.exists()


def test_sockets_go_and_the_session_passphrase_stays(units: Path, tmp_path: Path) -> None:
    runtime, session = tmp_path / "run", tmp_path / "session"
    for path in (runtime / "vault.sock", runtime / "gate-server.sock", session / "terok-shield-events.sock"):
        listen(path)
    (runtime / "ssh-agent.sock").write_text("no socket")
    (runtime / "vault.passphrase").write_text("secret\n")
    gone = sweep_leftovers(SandboxConfig(runtime_dir=runtime))
    assert gone[len(MARKED) :] == ["vault.sock", "gate-server.sock", "terok-shield-events.sock"]
    assert sorted(path.name for path in runtime.iterdir()) == ["ssh-agent.sock", "vault.passphrase"]
    assert sweep_leftovers(SandboxConfig(runtime_dir=runtime)) == []
