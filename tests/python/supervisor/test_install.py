"""Installing the hooks through the package, and the emergency stop."""

import json
import os
from pathlib import Path

import pytest
from supervised_site import Site, alive, built_program, until

CID = "d" * 64


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: Path):
    """The module, with its state and Podman's configuration in a scratch home."""
    native = pytest.importorskip("terok_native._lib", reason="the extension is not built")
    assert hasattr(native, "supervisor_install_hooks"), "the extension is older than these tests"
    from terok_sandbox.supervisor import install

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TEROK_SANDBOX_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.setattr(install, "supervisor_executable", built_program)
    return install


def conf_of(tmp_path: Path) -> Path:
    """Podman's configuration as the hooks' installer sees it: the system's for root."""
    from terok_native import _lib

    return Path(_lib.supervisor_hooks_conf())


def test_install_check_uninstall(install, tmp_path: Path) -> None:
    from terok_native import _lib

    conf = conf_of(tmp_path)
    if os.getuid() == 0:
        assert conf == Path("/etc/containers/containers.conf")
        pytest.skip("root's configuration is the machine's; the room's own tests cover its text")
    with pytest.raises(RuntimeError, match="does not exist"):
        _lib.supervisor_check_hooks()
    for _ in range(2):
        install.install_supervisor_hooks()
        _lib.supervisor_check_hooks()
    hooks = tmp_path / "state" / "hooks"
    assert sorted(path.name for path in hooks.iterdir()) == [
        "terok-sandbox-supervisor-createRuntime.json",
        "terok-sandbox-supervisor-poststop.json",
        "terok-supervisor",
        "terok-supervisord",
    ]
    descriptor = json.loads((hooks / "terok-sandbox-supervisor-createRuntime.json").read_text())
    assert descriptor == {
        "version": "1.0.0",
        "hook": {"path": str(hooks / "terok-supervisor"), "args": ["supervisor_hook", "createRuntime"]},
        "when": {"annotations": {"terok.sandbox.sidecar": ".+"}},
        "stages": ["createRuntime"],
    }
    assert f'hooks_dir = ["{hooks}"]' in conf.read_text()
    install.uninstall_supervisor_hooks()
    assert not hooks.exists() and conf.exists()


def test_containers_conf_in_the_environment_is_found_out(
    install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from terok_native import _lib

    if os.getuid() == 0:
        pytest.skip("root's configuration is the machine's")
    install.install_supervisor_hooks()
    other = tmp_path / "other.conf"
    other.write_text("[engine]\n")
    monkeypatch.setenv("CONTAINERS_CONF", str(other))
    with pytest.raises(RuntimeError, match="CONTAINERS_CONF"):
        _lib.supervisor_check_hooks()
    other.write_text(f'[engine]\nhooks_dir = ["{tmp_path}/state/hooks"]\n')
    _lib.supervisor_check_hooks()


def test_a_missing_program_is_named(install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import terok_native

    monkeypatch.undo()
    monkeypatch.setattr(terok_native, "__path__", [str(tmp_path)])
    with pytest.raises(RuntimeError, match="terok-supervisor"):
        install.supervisor_executable()


# improves: 21-7.9-whole-group-killed
def test_kill_all(install, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEROK_SANDBOX_STATE_DIR", str(site.state))
    assert install.kill_all_supervisors() == []
    container, stranger = site.container(), site.container()
    site.hook("createRuntime", CID, site.sidecar("c1"), container)
    site.pid_file("e" * 64).write_text(f"{stranger}\n")
    site.pid_file("f" * 64).write_text("what?")
    report = install.kill_all_supervisors()
    assert report[:2] == [(CID, None), ("e" * 64, None)]
    assert report[2][0] == "f" * 64 and report[2][1].startswith("unreadable pid file")
    assert until(lambda: not site.supervisors(), 1)
    assert alive(container) and alive(stranger) and not list((site.state / "pids").iterdir())
