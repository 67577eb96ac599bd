"""The vault from Python: records, tokens, transactions, and the ways to fail."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys

import pytest
from terok_sandbox.vault.store.db import CredentialDB, InvalidScopeName, UnsafeCommentError
from terok_sandbox.vault.store.encryption import (
    NoPassphraseError,
    PlaintextDBFoundError,
    VaultCorruptError,
    WrongPassphraseError,
    resolve_passphrase_with_source,
)


@pytest.fixture
def db(tmp_path):
    with CredentialDB(tmp_path / "vault" / "credentials.db", passphrase="s3cret") as opened:
        yield opened


def test_records_keep_unknown_members(db):
    record = {"type": "api_key", "key": "k", "future": [1, None, {"a": "ä"}]}
    db.store_credential("default", "claude", record)
    assert db.load_credential("default", "claude") == record
    assert db.list_credentials("default") == ["claude"]
    with pytest.raises(TypeError):
        db.store_credential("default", "x", {"bad": object()})


# improves: 21-1.2-database-private
def test_the_file_is_private(tmp_path, db):
    path = tmp_path / "vault" / "credentials.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


# improves: 21-2.1-errors-told-apart
def test_failures_to_open_have_their_own_classes(tmp_path, db):
    path = tmp_path / "vault" / "credentials.db"
    with pytest.raises(WrongPassphraseError, match=r"credentials\.db"):
        CredentialDB(path, passphrase="other")
    with pytest.raises(NoPassphraseError):
        CredentialDB(tmp_path / "new.db", passphrase="")
    assert not (tmp_path / "new.db").exists()
    (tmp_path / "plain.db").write_bytes(b"SQLite format 3\0" + bytes(4080))
    with pytest.raises(PlaintextDBFoundError, match="encrypt-db"):
        CredentialDB(tmp_path / "plain.db", passphrase="x")
    (tmp_path / "torn.db").write_bytes(b"x" * 5000)
    with pytest.raises(VaultCorruptError):
        CredentialDB(tmp_path / "torn.db", passphrase="x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_vault_can_be_read_but_not_written(tmp_path):
    path = tmp_path / "credentials.db"
    with CredentialDB(path, passphrase="x") as db:
        db.store_credential("s", "p", {"key": "k"})
    path.chmod(0o400)
    with CredentialDB(path, passphrase="x") as db:
        assert db.load_credential("s", "p") == {"key": "k"}
        with pytest.raises(OSError, match="read-only"):
            db.store_credential("s", "p", {})


def test_tokens(db):
    token = db.create_token("p", "t", "default", "gh")
    assert re.fullmatch("terok-p-[0-9a-f]{32}", token)
    assert db.lookup_token(token) == {"scope": "p", "subject": "t", "credential_set": "default", "provider": "gh"}
    assert [row["token"] for row in db.list_tokens()] == [token]
    assert (db.revoke_tokens("p", "t"), db.revoke_tokens("p", "t"), db.lookup_token(token)) == (1, 0, None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_a_transaction_is_dropped_on_every_exception(db, error):
    with pytest.raises(error), db.transaction():
        db.store_credential("s", "p", {})
        raise error
    assert db.load_credential("s", "p") is None
    with db.transaction():
        db.store_credential("s", "p", {})
    assert db.load_credential("s", "p") == {}


def test_keys_and_scopes(db):
    key = db.store_ssh_key("ed25519", b"private", b"public", "tk-main:p", "SHA256:x")
    db.assign_ssh_key("p", key)
    (record,) = db.load_ssh_keys_for_scope("p")
    assert (record.private_der, record.comment) == (b"private", "tk-main:p")
    assert b"private" not in repr(record).encode()
    with pytest.raises(InvalidScopeName):
        db.assign_ssh_key("%host", key)
    with pytest.raises(UnsafeCommentError):
        db.set_ssh_key_comment("SHA256:x", "a\nb")
    with pytest.raises(ValueError, match="dsa"):
        db.store_ssh_key("dsa", b"", b"", "", "f")


def test_a_closed_handle_raises(db):
    db.close()
    db.close()
    with pytest.raises(RuntimeError, match="closed"):
        db.list_tokens()


def test_a_kill_in_mid_write_loses_nothing(tmp_path):
    """A writer is killed again and again; every record that it reported as stored is there afterwards."""
    path = tmp_path / "credentials.db"
    CredentialDB(path, passphrase="x").close()
    program = (
        "import sys\nfrom pathlib import Path\nfrom terok_sandbox.vault.store.db import CredentialDB\n"
        f"db = CredentialDB(Path({str(path)!r}), passphrase='x')\n"
        "for n in range(10**6):\n    db.store_credential(sys.argv[1], f'p{n}', {'n': n})\n    print(n, flush=True)\n"
    )
    for round_ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", program, f"s{round_}"], stdout=subprocess.PIPE, text=True
        ) as writer:
            done = [int(writer.stdout.readline()) for _ in range(20 + 7 * round_)]
            writer.kill()
        with CredentialDB(path, passphrase="x") as db:
            stored = set(db.list_credentials(f"s{round_}"))
        assert {f"p{n}" for n in done} <= stored


def test_tiers(tmp_path):
    session = tmp_path / "session"
    session.write_text("from session\n")
    found = resolve_passphrase_with_source(passphrase_file=session, config_fallback="from config")
    assert found == ("from session", "session-file")
    assert resolve_passphrase_with_source(config_fallback="c") == ("c", "config")
    assert resolve_passphrase_with_source() == (None, None)
    with pytest.raises(WrongPassphraseError) as caught:
        resolve_passphrase_with_source(passphrase_command="false secret-in-here", config_fallback="weaker")
    assert "secret-in-here" not in str(caught.value)
