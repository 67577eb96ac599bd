"""Locking and unlocking while a container runs: the supervisor follows at once, and keeps no key of a locked vault."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest
from supervised_site import Site, children, request, until
from terok_native import _lib

CID = "d" * 64
PASSPHRASE = "tier passphrase"


def token(site: Site, passphrase: str = PASSPHRASE) -> str:
    """Make the vault with one credential; a phantom token for it."""
    store = _lib.VaultStore(site.vault / "credentials.db", passphrase)
    store.store_credential("default", "claude", json.dumps({"type": "api_key", "key": "real"}))
    made = store.create_token("standalone", "c1", "default", "claude")
    store.close()
    return made


def unlock(site: Site, passphrase: str = PASSPHRASE) -> None:
    _lib.vault_write_session_file(site.runtime / "vault.passphrase", passphrase)


def lock(site: Site) -> None:
    _lib.passphrase_forget_session_file(site.runtime / "vault.passphrase")


def open_files(site: Site) -> list[str]:
    """Files of the vault that the worker holds open."""
    (worker,) = children(site.watchdog(CID))
    found = []
    for entry in Path(f"/proc/{worker}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except OSError:
            continue
    return [name for name in found if name.startswith(str(site.vault / "credentials.db"))]


@pytest.fixture
def locked(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A supervised stand-in whose vault exists and is locked; no configuration of the real home counts."""
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(site.folder / "config.yml"))
    token(site)
    done = site.hook("createRuntime", CID, site.sidecar("c1"), site.container())
    assert done.returncode == 0, done.stderr
    return site


def is_open(site: Site) -> bool:
    return request(site.socket("c1")) == 200


# improves: 21-7.7-degraded-start
def test_unlocking_heals_a_running_container_within_a_second_or_two(locked: Site) -> None:
    assert request(locked.socket("c1")) == 503
    unlock(locked)
    assert until(lambda: is_open(locked), 4), locked.log(CID)
    assert "passphrase from `session-file`" in locked.log(CID)


# improves: 21-3.5-lock-reaches-running
def test_locking_closes_the_vault_and_wipes_the_key_at_once(locked: Site) -> None:
    unlock(locked)
    assert until(lambda: is_open(locked), 30)
    assert open_files(locked)
    lock(locked)
    assert until(lambda: not is_open(locked), 4), locked.log(CID)
    assert until(lambda: not open_files(locked), 4)
    assert not holds(locked, PASSPHRASE.encode()), "the passphrase is still in the worker's memory"
    unlock(locked)
    assert until(lambda: is_open(locked), 4)


def holds(site: Site, needle: bytes) -> bool:
    """Whether the worker's memory holds some bytes; only root may look."""
    if os.geteuid() != 0:
        return False
    (worker,) = children(site.watchdog(CID))
    with open(f"/proc/{worker}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{worker}/maps").read_text().splitlines():
            span, mode = line.split()[:2]
            if "w" not in mode or "[v" in line:
                continue
            first, last = (int(end, 16) for end in span.split("-"))
            try:
                memory.seek(first)
                if needle in memory.read(last - first):
                    return True
            except OSError:
                continue
    return False


def test_a_tier_of_the_configuration_that_is_emptied_locks_too(locked: Site) -> None:
    config = locked.folder / "config.yml"
    config.write_text(f"credentials: {{passphrase: {PASSPHRASE}}}\n")
    assert until(lambda: is_open(locked), 30), locked.log(CID)
    config.write_text("credentials: {passphrase: null}\n")
    assert until(lambda: not is_open(locked), 30)


def test_a_stale_session_file_shadows_and_says_so(locked: Site) -> None:
    unlock(locked, "stale")
    assert until(lambda: "passphrase is wrong" in locked.log(CID), 30)
    assert request(locked.socket("c1")) == 503
    unlock(locked)
    assert until(lambda: is_open(locked), 30)


# improves: 21-2.1-errors-told-apart
def test_a_damaged_vault_is_named_and_one_that_is_repaired_opens(locked: Site) -> None:
    path = locked.vault / "credentials.db"
    good = path.read_bytes()
    path.write_bytes(b"\x07" * 5000)
    unlock(locked)
    assert until(lambda: "is damaged" in locked.log(CID), 30)
    assert "passphrase is wrong" not in locked.log(CID)
    path.write_bytes(good)
    assert until(lambda: is_open(locked), 30), locked.log(CID)


def test_a_changed_passphrase_is_followed(locked: Site) -> None:
    """The vault takes another key under the supervisor; while the tiers lag behind, it is locked and not broken."""
    unlock(locked)
    assert until(lambda: is_open(locked), 30)
    store = _lib.VaultStore(locked.vault / "credentials.db", PASSPHRASE)
    store.change_passphrase("the next one")
    store.close()
    assert until(lambda: not is_open(locked), 30), locked.log(CID)
    unlock(locked, "the next one")
    assert until(lambda: is_open(locked), 30), locked.log(CID)


def test_the_old_passphrase_and_the_note_open_it_as_well(locked: Site) -> None:
    """As after a crash between the vault's new key and the tiers' new passphrase."""
    path = locked.vault / "credentials.db"
    store = _lib.VaultStore(path, PASSPHRASE)
    _lib.passphrase_handover_write(path, PASSPHRASE, "the next one")
    store.change_passphrase("the next one")
    store.close()
    unlock(locked)
    assert until(lambda: is_open(locked), 30), locked.log(CID)


def test_supervisors_drop_the_vault_on_request_until_they_are_told_to_look(locked: Site) -> None:
    """What the older generation calls stopping and starting the service."""
    unlock(locked)
    assert until(lambda: is_open(locked), 30)
    assert _lib.supervisor_tell_all(True, locked.state) == [(CID, None)]
    assert until(lambda: not is_open(locked), 4)
    assert until(lambda: not open_files(locked), 4)
    (locked.runtime / "unrelated").write_text("")
    assert not until(lambda: is_open(locked), 1), "nothing about the tiers has changed"
    assert _lib.supervisor_tell_all(False, locked.state) == [(CID, None)]
    assert until(lambda: is_open(locked), 4)
    assert _lib.supervisor_tell_all(True, locked.state) == [(CID, None)]
    assert until(lambda: not is_open(locked), 4)
    unlock(locked)
    assert until(lambda: is_open(locked), 4), "unlocking counts as well"


def test_the_next_worker_keeps_a_vault_locked_that_somebody_locked(locked: Site) -> None:
    def replace(*orders: bool) -> None:
        """Kill the worker, and say something before anybody else can hear it."""
        (worker,) = children(locked.watchdog(CID))
        os.kill(worker, signal.SIGKILL)
        for order in orders:
            assert _lib.supervisor_tell_all(order, locked.state) == [(CID, None)]
        assert until(lambda: children(locked.watchdog(CID)) not in ([], [worker]), 10)

    unlock(locked)
    assert until(lambda: is_open(locked), 30)
    for orders in [(True,), ()]:
        replace(*orders)
        assert not until(lambda: is_open(locked), 1), locked.log(CID)
    unlock(locked)
    assert until(lambda: is_open(locked), 30), "unlocking counts"
    replace()
    assert until(lambda: is_open(locked), 30), "and still does with the next worker"


def test_requests_under_way_are_answered_when_the_vault_is_locked(locked: Site) -> None:
    unlock(locked)
    assert until(lambda: is_open(locked), 30)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(locked.socket("c1")))
        lock(locked)
        assert until(lambda: not is_open(locked), 4)
        client.sendall(b"GET /v1/x HTTP/1.1\r\nHost: x\r\nx-api-key: terok-p-00\r\nConnection: close\r\n\r\n")
        assert b" 503 " in client.recv(100).split(b"\r\n")[0] + b" "
