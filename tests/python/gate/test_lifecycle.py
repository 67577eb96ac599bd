"""The management names of the older generation."""

from pathlib import Path

import pytest
from terok_sandbox import SandboxConfig
from terok_sandbox.gate.lifecycle import GateServerManager, GateServerStatus

MODULE = "terok_sandbox.supervisor.install.check_supervisor_hooks"


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GateServerManager:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return GateServerManager(SandboxConfig(state_dir=tmp_path, services_mode="tcp", gate_port=18999))


def test_installed_hooks_are_a_running_gate(manager: GateServerManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, lambda: None)
    assert manager.get_status() == GateServerStatus("daemon", True, 18999, "tcp")
    assert manager.is_socket_installed() and manager.is_socket_active() and manager.is_daemon_running()
    manager.ensure_reachable()
    manager.start_daemon()
    assert manager.check_units_outdated() is None and manager.server_port == 18999


def test_without_hooks_there_is_none_and_the_text_says_why(
    manager: GateServerManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, lambda: "the hooks are not installed")
    assert manager.get_status() == GateServerStatus("none", False, 18999, None)
    assert not manager.is_socket_reachable()
    with pytest.raises(SystemExit, match="not installed"):
        manager.ensure_reachable()
    assert manager.gate_base_path == tmp_path / "gate"


def test_only_marked_units_of_the_older_generation_go(manager: GateServerManager, tmp_path: Path) -> None:
    units = tmp_path / "config" / "systemd" / "user"
    units.mkdir(parents=True)
    ours, theirs, link = units / "terok-gate.socket", units / "terok-gate@.service", units / "terok-gate-socket.service"
    ours.write_text("# terok-gate-version: 13\n[Socket]\n")
    theirs.write_text("[Service]\n")
    target = tmp_path / "elsewhere"
    target.write_text("# terok-gate-version: 13\n")
    link.symlink_to(target)
    manager.uninstall_systemd_units()
    assert not ours.exists() and theirs.exists() and link.is_symlink() and target.exists()
