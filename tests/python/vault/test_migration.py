"""Vaults of every earlier generation become current ones, also when many processes open them at once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys

import pytest
from terok_sandbox.vault.ssh import keypair
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.store.encryption import encrypt_in_place, is_plaintext_sqlite

OLDEST = """
CREATE TABLE credentials (credential_set TEXT NOT NULL, provider TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (credential_set, provider));
CREATE TABLE ssh_keys (id INTEGER PRIMARY KEY AUTOINCREMENT,
    key_type TEXT NOT NULL CHECK (key_type IN ('ed25519', 'rsa')), private_pem BLOB NOT NULL,
    public_blob BLOB NOT NULL, comment TEXT NOT NULL DEFAULT '', fingerprint TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL DEFAULT (datetime('now')));
CREATE TABLE ssh_key_assignments (scope TEXT NOT NULL, key_id INTEGER NOT NULL REFERENCES ssh_keys(id)
    ON DELETE CASCADE, assigned_at TEXT NOT NULL DEFAULT (datetime('now')), PRIMARY KEY (scope, key_id));
CREATE TABLE proxy_tokens (token TEXT PRIMARY KEY, scope TEXT NOT NULL, task TEXT NOT NULL,
    credential_set TEXT NOT NULL, provider TEXT NOT NULL);
"""


def oldest(path, tmp_path):
    """A plain vault of the first layout, with one key of each kind that there was and one that nobody can read."""
    plain = sqlite3.connect(path)
    plain.executescript(OLDEST)
    prints = []
    for kind, more in (("ed25519", ()), ("rsa", ("-b", "1024"))):
        file = tmp_path / kind
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-f", file], check=True)
        line = subprocess.run(["ssh-keygen", "-lf", file], check=True, capture_output=True, text=True).stdout
        prints.append(line.split()[1])
        import base64

        blob = base64.b64decode(file.with_suffix(".pub").read_text().split()[1])
        key = (kind, file.read_bytes(), blob, f"tk-main:{kind}", hashlib.sha256(blob).hexdigest())
        number = plain.execute(
            "INSERT INTO ssh_keys (key_type, private_pem, public_blob, comment, fingerprint) VALUES (?, ?, ?, ?, ?)", key
        ).lastrowid
        plain.execute("INSERT INTO ssh_key_assignments (scope, key_id) VALUES ('p', ?)", (number,))
    plain.execute(
        "INSERT INTO ssh_keys (key_type, private_pem, public_blob, fingerprint) VALUES ('rsa', 'torn', x'00', 'ab')"
    )
    plain.execute("INSERT INTO proxy_tokens VALUES ('terok-p-0', 'p', 'task', 'default', 'gh')")
    plain.execute("INSERT INTO credentials VALUES ('default', 'gh', ?)", (json.dumps({"token": "t", "x": [1]}),))
    plain.commit()
    plain.close()
    return prints


def test_the_oldest_layout(tmp_path):
    path = tmp_path / "credentials.db"
    prints = oldest(path, tmp_path)
    assert is_plaintext_sqlite(path)
    encrypt_in_place(path, "pw")
    assert not is_plaintext_sqlite(path)
    with CredentialDB(path, passphrase="pw") as db:
        records = db.load_ssh_keys_for_scope("p")
        assert [record.fingerprint for record in records] == prints
        assert len(records[0].private_der) == 48
        for record in records:
            made = keypair.parse_openssh_keypair(keypair.openssh_pem_of(record.private_der)) if record.id == 1 else None
            assert made is None or made.public_blob == record.public_blob
        assert db.count_ssh_keys() == 3, "a key that cannot be read is kept"
        assert db.lookup_token("terok-p-0")["subject"] == "task"
        assert db.load_credential("default", "gh") == {"token": "t", "x": [1]}
    CredentialDB(path, passphrase="pw").close()


# improves: 21-2.2-one-migration
@pytest.mark.parametrize("old", [False, True])
def test_twenty_processes_open_it_at_once(tmp_path, old):
    path = tmp_path / "vault" / "credentials.db"
    path.parent.mkdir()
    if old:
        oldest(path, tmp_path)
        encrypt_in_place(path, "pw")
    program = (
        "import sys\nfrom pathlib import Path\nfrom terok_sandbox.vault.store.db import CredentialDB\n"
        "sys.stdin.readline()\n"
        f"with CredentialDB(Path({str(path)!r}), passphrase='pw') as db:\n"
        "    db.store_credential('s', sys.argv[1], {'n': 1})\n"
    )
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", program, f"p{n}"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for n in range(20)
    ]
    for opener in openers:
        opener.stdin.write("\n")
        opener.stdin.flush()
    failures = [opener.communicate()[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 20, failures
    with CredentialDB(path, passphrase="pw") as db:
        assert len(db.list_credentials("s")) == 20
        assert db.count_ssh_keys() == (3 if old else 0)
