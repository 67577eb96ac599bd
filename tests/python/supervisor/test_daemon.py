"""The daemon: its deaths and recoveries, the vault that opens later, its memory, and starting it by hand."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from supervised_site import SOON, Site, alive, children, request, until

CID = "b" * 64


@pytest.fixture
def running(site: Site) -> Site:
    """A site with a supervised stand-in named `c1`."""
    done = site.hook("createRuntime", CID, site.sidecar("c1"), site.container())
    assert done.returncode == 0, done.stderr
    return site


def test_a_killed_worker_is_replaced_at_once(running: Site) -> None:
    """A request under way breaks; the next one works, because the socket belongs to the watchdog."""
    watchdog = running.watchdog(CID)
    for _ in range(2):
        (worker,) = children(watchdog)
        under_way = socket.socket(socket.AF_UNIX)
        under_way.connect(str(running.socket("c1")))
        # The answer to a first request shows that this worker has the connection.
        under_way.sendall(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert under_way.recv(1000)
        under_way.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        assert request(running.socket("c1")) == 503
        assert time.monotonic() - started < SOON
        assert broken(under_way)
    assert alive(watchdog) and running.watchdog(CID) == watchdog
    assert "the worker ended with status 137" in running.log(CID)


def broken(client: socket.socket) -> bool:
    """Whether the other side reset or closed the connection: anything but silence."""
    with client:
        client.settimeout(30)
        try:
            return client.recv(100) == b""
        except ConnectionResetError:
            return True


def test_the_first_replacement_serves_within_a_tenth_of_a_second(site: Site) -> None:
    def took(number: int) -> float:
        name, cid = f"c{number}", f"{number:064x}"
        assert site.hook("createRuntime", cid, site.sidecar(name), site.container()).returncode == 0
        (worker,) = children(site.watchdog(cid))
        request(site.socket(name))
        started = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        assert request(site.socket(name)) == 503
        return time.monotonic() - started

    # Other tests may keep the processors busy for some of them.
    assert any(took(number) < 0.1 for number in range(5))


def test_without_the_watchdog_nothing_serves_and_the_container_goes_on(running: Site) -> None:
    watchdog = running.watchdog(CID)
    (worker,) = children(watchdog)
    os.kill(watchdog, signal.SIGKILL)
    assert until(lambda: not alive(worker), SOON)
    with pytest.raises(ConnectionRefusedError):
        request(running.socket("c1"))
    assert alive(running.sleepers[0].pid)
    # Its lock is gone with it: the next start serves again.
    done = running.hook("createRuntime", CID, running.sidecar("c1"), running.sleepers[0].pid)
    assert done.returncode == 0 and request(running.socket("c1")) == 503


# improves: 21-7.5-no-retry-bad-sidecar 21-7.7-nothing-left
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_clears_up(running: Site, number: int) -> None:
    watchdog = running.watchdog(CID)
    os.kill(watchdog, number)
    assert until(lambda: not running.supervisors(), 2 * SOON)
    assert not running.socket("c1").exists() and not running.pid_file(CID).exists()
    assert alive(running.sleepers[0].pid)


# improves: 21-7.7-one-supervisor
def test_a_second_supervisor_by_hand_leaves_the_first_alone(running: Site) -> None:
    before = (running.watchdog(CID), running.socket("c1").stat().st_ino)
    done = by_hand(running)
    assert done.returncode == 3 and "another supervisor serves it" in done.stderr
    assert before == (running.watchdog(CID), running.socket("c1").stat().st_ino)
    assert request(running.socket("c1")) == 503


def by_hand(site: Site, *more: str) -> subprocess.CompletedProcess[str]:
    program = site.state / "hooks" / "terok-supervisor"
    argv = [program, "supervisor", CID, site.state / "sidecar" / "c1.json", *more]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


# improves: 21-7.5-no-retry-bad-sidecar
def test_by_hand_the_status_says_how_it_ended(site: Site) -> None:
    assert by_hand(site).returncode == 2, "no sidecar"
    site.raw_sidecar("c1", "[]")
    assert by_hand(site).returncode == 2
    site.sidecar("c1")
    done = by_hand(site)
    assert done.returncode == 3 and "cannot watch container" in done.stderr
    assert not site.pid_file(CID).exists()
    program = site.state / "hooks" / "terok-supervisor"
    for argv, status in ((["--version"], 0), (["--help"], 0), ([], 2), (["nonsense"], 2)):
        assert subprocess.run([program, *argv], capture_output=True).returncode == status


# improves: 21-7.7-container-end
def test_by_hand_it_serves_until_the_process_ends(site: Site) -> None:
    site.sidecar("c1")
    pid = site.container()
    start = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    program = site.state / "hooks" / "terok-supervisor"
    argv = [program, "supervisor", CID, site.state / "sidecar" / "c1.json", f"{pid}:{start}"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as supervisor:
        assert until(lambda: site.socket("c1").exists()) and request(site.socket("c1")) == 503
        assert supervisor.pid in site.supervisors()
        site.end(pid)
        assert supervisor.wait(30) == 0
    stale = subprocess.run([*argv[:-1], f"{site.container()}:1"], capture_output=True, text=True)
    assert stale.returncode == 3 and "has ended" in stale.stderr


def make_vault(site: Site) -> None:
    """An encrypted vault with the passphrase `pw`."""
    native = pytest.importorskip("terok_native._lib", reason="the extension is not built")
    native.VaultStore(str(site.vault / "credentials.db"), "pw").close()
    site.give_away()


# improves: 21-7.7-degraded-start 21-1.1-one-directory
def test_a_vault_unlocked_later_is_used_without_a_restart(running: Site) -> None:
    make_vault(running)
    assert request(running.socket("c1")) == 503
    (running.runtime / "vault.passphrase").write_text("pw\n")
    assert until(lambda: request(running.socket("c1")) == 200, 30)
    assert "passphrase from `session-file`" in running.log(CID)


def test_requests_wait_for_the_first_unlock(site: Site) -> None:
    make_vault(site)
    (site.runtime / "vault.passphrase").write_text("pw\n")
    assert site.hook("createRuntime", CID, site.sidecar("c1"), site.container()).returncode == 0
    assert request(site.socket("c1"), "/v1/models") == 401, "judged by an open vault"


def test_the_launchers_configuration_is_the_daemons(site: Site) -> None:
    """Podman hands no variable on to a hook; the sidecar does."""
    make_vault(site)
    config = site.folder / "config.yml"
    config.write_text("credentials:\n  passphrase: pw\n")
    sidecar = site.sidecar("c1", environment={"TEROK_CONFIG_FILE": str(config), "LD_PRELOAD": "/evil.so"})
    assert site.hook("createRuntime", CID, sidecar, site.container()).returncode == 0
    assert until(lambda: request(site.socket("c1")) == 200, 30)
    assert "passphrase from `config`" in site.log(CID)


def test_a_wrong_passphrase_is_named_and_not_tried_again(site: Site) -> None:
    make_vault(site)
    (site.runtime / "vault.passphrase").write_text("no\n")
    assert site.hook("createRuntime", CID, site.sidecar("c1"), site.container()).returncode == 0
    assert request(site.socket("c1")) == 503
    time.sleep(6)
    assert site.log(CID).count("the passphrase is wrong") == 1


def private_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def test_idle_memory(running: Site) -> None:
    """All processes of one supervisor together have at most 6 MiB of their own, pages of the program included."""
    if os.getuid():
        pytest.skip("only root may look into a supervisor's memory")
    make_vault(running)
    (running.runtime / "vault.passphrase").write_text("pw\n")
    assert until(lambda: request(running.socket("c1")) == 200, 30)
    watchdog = running.watchdog(CID)

    def total() -> int:
        return sum(private_kib(pid) for pid in (watchdog, *children(watchdog)))

    # A second after the vault has settled, pages that only the start needed are given back.
    assert until(lambda: total() <= 6 * 1024, 30), f"{total()} KiB"


def test_it_leaves_no_core_and_follows_no_one(running: Site) -> None:
    limits = Path(f"/proc/{running.watchdog(CID)}/limits").read_text()
    assert any(line.split()[:5] == ["Max", "core", "file", "size", "0"] for line in limits.splitlines())
    assert os.getsid(running.watchdog(CID)) == running.watchdog(CID)
