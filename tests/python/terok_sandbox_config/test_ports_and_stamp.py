"""The port registry as Python callers see it, across processes; and the setup stamp."""

import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from host.ports import free_range
from terok_sandbox import SetupVerdict, claim_port, needs_setup, port_registry, read_stamp, release_port, setup_stamp
from terok_sandbox.port_registry import PortRegistry

RANGE = free_range(40)
BUSY, LAST = RANGE[31], RANGE[-1]


@pytest.fixture
def registry(tmp_path):
    return PortRegistry(tmp_path / "ports", RANGE)


def claims(registry):
    return json.loads((registry.registry_dir / f"{pwd.getpwuid(os.geteuid()).pw_name}.json").read_text())


def elsewhere(registry, code):
    """Run *code* with ``r`` in another process of ours."""
    program = (
        "import sys, pathlib; from terok_sandbox.port_registry import PortRegistry\n"
        f"r = PortRegistry(pathlib.Path(sys.argv[1]), range({RANGE.start}, {RANGE.stop}))\n{code}"
    )
    command = [sys.executable, "-c", program, str(registry.registry_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_claims_are_kept_and_released(registry):
    port = registry.claim("web:p/1")
    assert port in RANGE and registry.claim("web:p/1", 1, explicit=True) == port
    assert registry.claim("web:p/2", port) != port
    registry.release("web:p/1")
    registry.release("web:p/1")
    assert list(claims(registry)) == ["web:p/2"]


def test_refusals_are_exits_with_a_reason(registry):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", BUSY))
        busy.listen()
        with pytest.raises(SystemExit, match="unavailable"):
            registry.claim("a", BUSY, explicit=True)
        assert registry.claim("b", BUSY, trusted=True) == BUSY
    with pytest.raises(SystemExit, match="already held by b"):
        registry.claim("a", BUSY, explicit=True)
    with pytest.raises(SystemExit, match="not a valid port number"):
        registry.claim("a", 70000, explicit=True)


def test_processes_of_one_user_know_each_other(registry):
    port = registry.claim("web:p/1")
    other = int(elsewhere(registry, f"print(r.claim('web:p/2', {port}))"))
    assert other != port and claims(registry) == {"web:p/1": port, "web:p/2": other}
    elsewhere(registry, "r.release('web:p/1')")
    assert claims(registry) == {"web:p/2": other}


def test_module_functions_use_the_default_registry(tmp_path, monkeypatch):
    monkeypatch.setattr(port_registry, "_default", PortRegistry())
    port_registry._default.registry_dir = tmp_path / "elsewhere"
    port_registry._default.port_range = RANGE
    port = claim_port("x")
    assert (tmp_path / "elsewhere").is_dir() and port in RANGE
    release_port("x")
    assert port_registry.PORT_RANGE == RANGE


def test_the_range_is_forced_into_bounds(configure):
    for text, wanted in [
        ("", range(18700, 32701)),
        ("network: {port_range_start: 80, port_range_end: 99999}", range(1024, 65536)),
        ("network: {port_range_start: 5000, port_range_end: 4000}", range(5000, 5001)),
        ("network: {port_range_start: '6000', port_range_end: x}", range(6000, 32701)),
        ("network: 5", range(18700, 32701)),
    ]:
        configure(text)
        assert PortRegistry().port_range == wanted, text


def test_importing_reads_no_configuration(configure):
    configure("network: [\n")
    program = "import terok_sandbox.port_registry, terok_sandbox.config"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_service_ports_hold_for_the_process(registry, tmp_path):
    first = registry.resolve_service_ports(state_dir=tmp_path)
    assert registry.resolve_service_ports(LAST, gate_explicit=True, state_dir=tmp_path) == first
    assert json.loads((tmp_path / "port-claims.json").read_text()) == first._asdict()
    registry.reset()
    moved = registry.resolve_service_ports(LAST, gate_explicit=True, state_dir=tmp_path)
    assert (moved.gate, moved.proxy, moved.ssh_agent) == (LAST, first.proxy, first.ssh_agent)


@pytest.fixture
def stamp(home, monkeypatch):
    monkeypatch.setattr(setup_stamp, "installed_versions", lambda: {"terok-sandbox": "0.1.0", "terok-shield": "0.7.0"})
    return setup_stamp.stamp_path()


def test_stamp(home, stamp):
    assert stamp == home / ".local/share/terok/setup.stamp" and needs_setup() is SetupVerdict.FIRST_RUN
    assert setup_stamp.write_stamp() == stamp
    written = json.loads(stamp.read_text())
    assert list(written) == ["completed_at", "packages", "version"] and written["version"] == 1
    assert written["completed_at"].endswith("+00:00") and "." not in written["completed_at"]
    assert stamp.stat().st_mode & 0o777 == 0o644
    assert read_stamp(stamp) == {"terok-sandbox": "0.1.0", "terok-shield": "0.7.0"}
    assert needs_setup() is SetupVerdict.OK
    assert setup_stamp.clear_stamp() is True and setup_stamp.clear_stamp() is False


@pytest.mark.parametrize(
    ("packages", "verdict"),
    [
        ({"terok-sandbox": "0.0.9"}, SetupVerdict.STALE_AFTER_UPDATE),
        ({"terok-sandbox": "0.2"}, SetupVerdict.STALE_AFTER_DOWNGRADE),
        ({"terok": "0.8.0", "terok-sandbox": "0.0.9"}, SetupVerdict.STALE_AFTER_DOWNGRADE),
        ({}, SetupVerdict.OK),
    ],
)
def test_verdicts(stamp, packages, verdict):
    stamp.parent.mkdir(parents=True)
    stamp.write_text(json.dumps({"version": 1, "completed_at": "", "packages": packages}))
    assert needs_setup() is verdict


@pytest.mark.parametrize("text", ["[]", '{"version": 2, "packages": {}}', '{"version": 1, "packages": 5}'])
def test_corrupt_stamps(stamp, text):
    stamp.parent.mkdir(parents=True)
    stamp.write_text(text)
    with pytest.raises(ValueError):
        read_stamp(stamp)
    assert needs_setup() is SetupVerdict.STAMP_CORRUPT


def test_unreadable_stamps(stamp):
    with pytest.raises(OSError):
        read_stamp(stamp)
    stamp.mkdir(parents=True)
    assert needs_setup() is SetupVerdict.STAMP_CORRUPT
    stamp.rmdir()
    stamp.write_text("{")
    with pytest.raises(json.JSONDecodeError):
        read_stamp(stamp)


def test_versions_are_those_of_the_metadata(tmp_path, monkeypatch):
    info = tmp_path / "terok_clearance-0.7.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: terok-clearance\nVersion: 0.7.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert setup_stamp.installed_versions()["terok-clearance"] == "0.7.0"
    assert Path(info).exists()
