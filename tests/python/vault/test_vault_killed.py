"""Processes that write, migrate, encrypt and change the passphrase are killed at seeded moments.

Three hundred kills by default (``TEROK_KILLS``); the moments come from a seed (``TEROK_SEED``) that is printed. The
victims are forks, so that a kill costs no start of an interpreter, and every campaign runs in two lanes at once, because
deriving a key is what takes the time. After each kill the file is whole, opens with the old passphrase or with the new
one, and holds everything that was reported as stored.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.store.encryption import WrongPassphraseError, encrypt_in_place, is_plaintext_sqlite

KILLS = int(os.environ.get("TEROK_KILLS", "300"))
SEED = int(os.environ.get("TEROK_SEED", "20261122"))
LANES = 2


def in_lanes(campaign, kills: int, folder) -> Counter:
    """Run *campaign(seed, kills, folder)* in processes of its own, each with its part of the kills; sum what they say."""
    parts = [(SEED + lane, kills // LANES, folder / f"lane{lane}") for lane in range(LANES)]
    with ProcessPoolExecutor(LANES, mp_context=multiprocessing.get_context("fork")) as pool:
        return sum(pool.map(campaign, *zip(*parts, strict=True)), Counter())


def add_figures(name: str, kills: int) -> None:
    """Tell the sum of the whole suite's kills, when there is one."""
    if place := os.environ.get("TEROK_KILL_FIGURES"):
        with open(place, "a", encoding="utf-8") as file:
            file.write(json.dumps({"victim": name, "kills": kills}) + "\n")


@contextlib.contextmanager
def victim(work, delay: float):
    """Run *work(report)* in a fork that is killed *delay* seconds after its first report; yield what it reported."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            work(lambda text: os.write(writer, f"{text}\n".encode()))
        finally:
            os._exit(0)
    os.close(writer)
    first = os.read(reader, 4096)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    heard = first
    while part := os.read(reader, 65536):
        heard += part
    os.close(reader)
    yield heard.decode().split("\n")[:-1]


def duration(work) -> float:
    """How long *work(report)* takes in a fork after its first report, in seconds, on this machine at this moment."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(lambda text: os.write(writer, f"{text}\n".encode()))
        finally:
            os._exit(0)
    os.close(writer)
    os.read(reader, 4096)
    start = time.monotonic()
    while os.read(reader, 4096):
        pass
    os.waitpid(child, 0)
    os.close(reader)
    return time.monotonic() - start


def opened(path, *words):
    """The vault and the passphrase that opens it; exactly one of *words* does."""
    for word in words:
        with contextlib.suppress(WrongPassphraseError):
            return CredentialDB(path, passphrase=word), word
    raise AssertionError(f"none of {words} opens the vault")


def test_writers(tmp_path):
    print(f"seed {SEED}")
    CredentialDB(tmp_path / "db", passphrase="x").close()
    done = in_lanes(kill_writers, KILLS * 2 // 3, tmp_path)
    print(f"{done['kills']} kills, {done['stored']} records reported as stored, none lost")
    assert done["kills"] >= KILLS * 2 // 3 - LANES and done["stored"] > 0
    add_figures("vault: writer", done["kills"])


def kill_writers(seed, kills, lane):
    """Both lanes write into one vault."""
    dice, path = random.Random(seed), lane.parent / "db"
    stored = set()
    for round_ in range(kills):

        def write(report, round_=round_):
            db = CredentialDB(path, passphrase="x")
            report("open")
            for n in range(10**6):
                db.store_credential("s", f"{lane.name}-{round_}-{n}", {"refresh_token": "r" * 200})
                report(f"{lane.name}-{round_}-{n}")

        with victim(write, dice.uniform(0, 0.02)) as heard:
            stored |= {name for name in heard if name != "open"}
    with CredentialDB(path, passphrase="x") as db:
        lost = stored - set(db.list_credentials("s"))
    assert not lost
    return Counter(kills=kills, stored=len(stored))


def test_changes_of_the_passphrase(tmp_path):
    done = in_lanes(kill_changes, KILLS // 6, tmp_path)
    print(f"{done.total()} kills: {dict(done)}")
    add_figures("vault: change of the passphrase", done.total())


def kill_changes(seed, kills, lane):
    lane.mkdir()
    dice, path, word = random.Random(seed), lane / "db", "w0"
    outcomes = Counter()
    with CredentialDB(path, passphrase=word) as db, db.transaction():
        for n in range(300):
            db.store_credential("s", f"p{n}", {"key": "k" * 300})
    for round_ in range(kills + 1):
        old, new = word, f"w{round_ + 1}"

        def change(report, old=old, new=new):
            db = CredentialDB(path, passphrase=old)
            report("open")
            db.change_passphrase(new)
            report("done")

        if round_ == 0:
            limit = 1.2 * duration(change)
            db, word = opened(path, new)
            db.close()
            continue
        with victim(change, dice.uniform(0, limit)) as heard:
            pass
        db, word = opened(path, new, old)
        outcomes["new" if word == new else "old"] += 1
        assert word == new or "done" not in heard, "a change that was reported holds"
        with db:
            assert len(db.list_credentials("s")) == 300
            assert db.load_credential("s", "p299") == {"key": "k" * 300}
        other = new if word == old else old
        with pytest.raises(WrongPassphraseError):
            CredentialDB(path, passphrase=other)
    return outcomes


def test_encryption_and_migration(tmp_path):
    done = in_lanes(kill_encryption, KILLS // 6, tmp_path)
    print(f"{done.total()} kills: {dict(done)}")
    add_figures("vault: encryption and migration", done.total())


def kill_encryption(seed, kills, lane):
    lane.mkdir()
    dice = random.Random(seed)
    outcomes = Counter()
    for round_ in range(kills + 1):
        path = lane / f"db{round_}"
        with contextlib.closing(sqlite3.connect(path)) as plain:
            plain.executescript(
                "CREATE TABLE credentials (credential_set TEXT NOT NULL, provider TEXT NOT NULL, data TEXT NOT NULL,"
                " PRIMARY KEY (credential_set, provider));"
                "CREATE TABLE proxy_tokens (token TEXT PRIMARY KEY, scope TEXT NOT NULL, task TEXT NOT NULL,"
                " credential_set TEXT NOT NULL, provider TEXT NOT NULL);"
                "INSERT INTO credentials VALUES ('s', 'p', '{\"key\": \"k\"}');"
                "INSERT INTO proxy_tokens VALUES ('t', 'scope', 'task', 's', 'p')"
            )

        def encrypt(report, path=path):
            report("start")
            encrypt_in_place(path, "x")
            report("encrypted")
            CredentialDB(path, passphrase="x").close()
            report("migrated")

        if round_ == 0:
            limit = 1.2 * duration(encrypt)
            continue
        with victim(encrypt, dice.uniform(0, limit)) as heard:
            pass
        still_plain = is_plaintext_sqlite(path)
        outcomes["plain" if still_plain else "encrypted"] += 1
        assert not (still_plain and "encrypted" in heard)
        if still_plain:
            encrypt_in_place(path, "x")
        with CredentialDB(path, passphrase="x") as db:
            assert db.load_credential("s", "p") == {"key": "k"}
            assert db.lookup_token("t")["subject"] == "task"
    return outcomes
