"""The OCI hook: what it starts, what it refuses, what it clears away."""

import json
import os
import stat
from pathlib import Path

import pytest
from supervised_site import FIXTURES, SOON, Site, alive, children, request, until

CID = "a" * 64
BAD_SIDECARS = json.loads((FIXTURES / "bad_sidecars.json").read_text())


# improves: 21-5.2-socket-no-window 21-7.4-start-again 21-7.7-container-end 21-7.7-nothing-left
def test_a_container_gets_a_supervisor_that_ends_with_it(site: Site) -> None:
    sidecar, pid = site.sidecar("c1"), site.container()
    done = site.hook("createRuntime", CID, sidecar, pid)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    watchdog = site.watchdog(CID)
    arguments = Path(f"/proc/{watchdog}/cmdline").read_bytes().split(b"\0")
    assert arguments[:3] == [str(site.state / "supervisor_wrapper.py").encode(), CID.encode(), str(sidecar).encode()]
    assert len(children(watchdog)) == 1
    # No vault exists: the broker answers all the same.
    assert request(site.socket("c1")) == 503
    assert stat.S_IMODE(site.socket("c1").stat().st_mode) == 0o600
    assert stat.S_IMODE(site.socket("c1").parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((site.state / "logs" / f"{CID}.log").stat().st_mode) == 0o600
    assert f"serves {site.socket('c1')}" in site.hook_log
    site.end(pid)
    assert until(lambda: not alive(watchdog), SOON)
    assert not site.socket("c1").exists() and not site.pid_file(CID).exists()
    assert sidecar.exists() and site.socket("c1").parent.is_dir(), "the container may be started again"
    assert "the container has ended" in site.log(CID)


def test_damaged_record_of_the_copies_is_logged_and_harms_no_end(site: Site) -> None:
    home = site.folder / "home"
    for folder in (home, site.state / "logs"):
        folder.mkdir()
    (home / "copies.json").write_text('{"version": 9}')
    done = site.hook("poststop", CID, site.sidecar("c1", home_dir=str(home)))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"cannot read `{home}/copies.json`" in site.hook_log and "cleared" in site.hook_log


# improves: 21-7.4-start-again
def test_the_same_run_is_supervised_once_and_a_new_run_anew(site: Site) -> None:
    sidecar, first, second = site.sidecar("c1"), site.container(), site.container()
    assert site.hook("createRuntime", CID, sidecar, first).returncode == 0
    watchdog = site.watchdog(CID)
    assert site.hook("createRuntime", CID, sidecar, first).returncode == 0
    assert site.watchdog(CID) == watchdog and len(site.supervisors()) == 2
    assert site.hook("createRuntime", CID, sidecar, second).returncode == 0
    assert site.watchdog(CID) != watchdog and not alive(watchdog)
    assert request(site.socket("c1")) == 503
    site.end(first)
    assert request(site.socket("c1")) == 503, "the end of the first run means nothing to the second"


# improves: 21-7.5-no-retry-bad-sidecar
@pytest.mark.parametrize("case", BAD_SIDECARS, ids=lambda case: case["name"])
def test_a_broken_sidecar_keeps_the_container_from_running(site: Site, case: dict) -> None:
    sidecar = site.raw_sidecar("c1", case["text"]) if "text" in case else site.sidecar("c1", **case["members"])
    done = site.hook("createRuntime", CID, sidecar, site.container())
    assert done.returncode == 2
    assert case["cause"] in done.stderr and done.stderr.count("\n") == 1
    assert case["cause"] in site.hook_log
    assert not site.supervisors() and not site.pid_file(CID).exists()


@pytest.mark.parametrize(
    "annotation",
    ["/etc/passwd", "relative/sidecar/c.json", "/tmp/sidecar/../sidecar/c.json", "/nowhere/sidecar/c.json"],
)
def test_an_annotation_that_names_no_sidecar_of_ours(site: Site, annotation: str) -> None:
    done = site.hook("createRuntime", CID, annotation, site.container())
    assert done.returncode == 2 and annotation in done.stderr
    assert not site.supervisors()


def test_a_sidecar_that_others_may_write_or_that_is_a_link(site: Site) -> None:
    sidecar = site.sidecar("c1")
    link = sidecar.with_name("link.json")
    link.symlink_to(sidecar)
    assert site.hook("createRuntime", CID, link, site.container()).returncode == 2
    sidecar.chmod(0o666)
    done = site.hook("createRuntime", CID, sidecar, site.container())
    assert done.returncode == 2 and "others may write" in done.stderr
    if os.getuid() == 0:
        sidecar.chmod(0o600)
        os.chown(sidecar, 12345, 12345)
        done = site.hook("createRuntime", CID, sidecar, site.container())
        assert done.returncode == 2 and "somebody else" in done.stderr
    assert not site.supervisors()


@pytest.mark.parametrize("raw", ["", "[]", "{}", '{"id": "../x"}', "nonsense"])
def test_a_state_that_cannot_be_understood_fails_the_container(site: Site, raw: str) -> None:
    done = site.hook("createRuntime", CID, None, raw=raw)
    assert done.returncode == 3 and "container's state" in done.stderr
    assert site.hook("poststop", CID, None, raw=raw).returncode == 0


def test_without_the_annotation_or_without_a_process(site: Site) -> None:
    assert site.hook("createRuntime", CID, None, site.container()).returncode == 0
    assert not site.supervisors() and not site.hook_log
    done = site.hook("createRuntime", CID, site.sidecar("c1"))
    assert done.returncode == 3 and "no live process" in done.stderr


def test_services_that_cannot_start_are_named_and_leave_nothing(site: Site) -> None:
    pid = site.container()
    (site.vault / "routes.json").write_text('{"claude": {"upstream": "ftp://x"}}')
    done = site.hook("createRuntime", CID, site.sidecar("c1"), pid)
    assert done.returncode == 3
    assert "credential broker" in done.stderr and "route `claude`" in done.stderr
    assert done.stderr.count("\n") == 1 and "route `claude`" in site.log(CID)
    assert not site.socket("c1").exists() and not site.pid_file(CID).exists()
    (site.vault / "routes.json").unlink()
    done = site.hook("createRuntime", CID, site.sidecar("c1"), pid)
    assert done.returncode == 3 and "routes.json" in done.stderr


# improves: 21-7.6-name-length
def test_names_and_ports_that_cannot_be_bound(site: Site) -> None:
    import socket

    pid = site.container()
    name = "n" * 100
    done = site.hook("createRuntime", CID, site.sidecar(name), pid)
    assert done.returncode == 3 and "a socket's may have 107" in done.stderr
    assert not list((site.runtime / "run" / name).iterdir())
    done = site.hook("createRuntime", CID, site.sidecar("c1", ipc_mode="tcp"), pid)
    assert done.returncode == 3 and "`tcp_port`" in done.stderr
    done = site.hook("createRuntime", CID, site.sidecar("c1", ipc_mode="tcp", tcp_port=1), pid)
    assert done.returncode == 3 and "`ssh_signer_port`" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        port, signer = taken.getsockname()[1], other.getsockname()[1]
        ports = {"tcp_port": port, "ssh_signer_port": signer}
        done = site.hook("createRuntime", CID, site.sidecar("c1", ipc_mode="tcp", **ports), pid)
    assert done.returncode == 3 and f"port {port}" in done.stderr
    ports = {"tcp_port": str(port), "ssh_signer_port": signer}
    done = site.hook("createRuntime", CID, site.sidecar("c1", ipc_mode="tcp", **ports), pid)
    assert done.returncode == 0 and f"127.0.0.1:{port} 127.0.0.1:{signer}" in site.hook_log


# holds: container-stays-startable
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_obstacle_left_by_the_container_does_not_keep_it_from_starting(site: Site, kind: str) -> None:
    sidecar, elsewhere = site.sidecar("c1"), site.state / "elsewhere"
    elsewhere.write_text("keep")
    directory = site.socket("c1").parent
    for name in ("vault.sock", "ssh-agent.sock"):
        if kind == "directory":
            (directory / name / "deep").mkdir(parents=True)
        elif kind == "file":
            (directory / name).write_text("")
        else:
            (directory / name).symlink_to(elsewhere)
    assert site.hook("createRuntime", CID, sidecar, site.container()).returncode == 0
    assert request(site.socket("c1")) == 503 and elsewhere.read_text() == "keep"


def test_poststop_ends_a_supervisor_and_removes_what_it_left(site: Site) -> None:
    sidecar, pid = site.sidecar("c1"), site.container()
    site.hook("createRuntime", CID, sidecar, pid)
    watchdog = site.watchdog(CID)
    assert site.hook("poststop", CID, sidecar).returncode == 0
    assert not site.supervisors() and not site.pid_file(CID).exists()
    assert not site.socket("c1").exists() and sidecar.exists()

    site.hook("createRuntime", CID, sidecar, pid)
    os.killpg(site.watchdog(CID), 9)
    assert until(lambda: not site.supervisors()) and site.socket("c1").exists()
    assert site.hook("poststop", CID, sidecar).returncode == 0
    assert not site.socket("c1").exists() and not site.pid_file(CID).exists()
    assert not alive(watchdog)


@pytest.mark.parametrize("content", ["foreign", "0", "-1", "x", ""])
def test_poststop_never_signals_strangers(site: Site, content: str) -> None:
    sidecar, stranger = site.sidecar("c1"), site.container()
    (site.state / "pids").mkdir()
    site.pid_file(CID).write_text(str(stranger) if content == "foreign" else content)
    assert site.hook("poststop", CID, sidecar).returncode == 0
    assert alive(stranger) and not site.pid_file(CID).exists() and sidecar.exists()


def test_loader_variables_of_the_caller_do_not_reach_the_daemon(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/evil")
    monkeypatch.setenv("TEROK_CONFIG_FILE", "/somewhere/config.yml")
    site.hook("createRuntime", CID, site.sidecar("c1"), site.container())
    if os.getuid() == 0:  # nobody else may look
        environ = Path(f"/proc/{site.watchdog(CID)}/environ").read_bytes().split(b"\0")
        assert b"TEROK_CONFIG_FILE=/somewhere/config.yml" in environ
        assert not [entry for entry in environ if entry.startswith(b"PYTHON")]
    else:
        with pytest.raises(PermissionError):
            Path(f"/proc/{site.watchdog(CID)}/environ").read_bytes()
