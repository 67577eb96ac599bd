"""``credentials encrypt-db`` as a command: a plain database of the first days becomes a vault, and a copy is kept."""

from __future__ import annotations

import os
import sqlite3
import stat
import tarfile
from pathlib import Path

import pytest
from terok_sandbox.vault.store.encryption import is_plaintext_sqlite
from test_migration import oldest
from tiers_site import OLD, Account, account, needs  # noqa: F401

pytestmark = needs("ssh-keygen")
VERB = ("credentials", "encrypt-db")


@pytest.fixture
def plain(account: Account, tmp_path: Path) -> Path:  # noqa: F811
    """A database of the time before encryption, where the vault is expected."""
    path = account.config.db_path
    path.parent.mkdir(parents=True)
    (tmp_path / "made").mkdir()
    oldest(path, tmp_path / "made")
    return path


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.plaintext-backup-*.tar.gz"))


def test_it_is_encrypted_and_the_old_one_kept(account: Account, plain: Path, tmp_path: Path) -> None:  # noqa: F811
    account.session()
    before = plain.read_bytes()
    umask = os.umask(0)
    try:
        done = account.run(*VERB)
    finally:
        os.umask(umask)
    assert done.returncode == 0, done.stderr
    (kept,) = backups(plain)
    assert str(kept) in done.stdout and "NOT encrypted" in done.stdout
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 == stat.S_IMODE(plain.stat().st_mode)
    assert not is_plaintext_sqlite(plain) and b"terok-p-0" not in plain.read_bytes()
    with account.config.open_credential_db() as db:
        assert db.load_credential("default", "gh") == {"token": "t", "x": [1]}
        assert [row.key_type for row in db.list_ssh_keys_for_scope("p")] == ["ed25519", "rsa"]
    with tarfile.open(kept) as archive:
        (member,) = archive.getmembers()
        assert member.name == plain.name
        restored = tmp_path / "restored.db"
        restored.write_bytes(archive.extractfile(member).read())
    assert restored.read_bytes() == before
    assert sqlite3.connect(restored).execute("SELECT token FROM proxy_tokens").fetchall() == [("terok-p-0",)]


def test_a_second_time_nothing_happens(account: Account, plain: Path) -> None:  # noqa: F811
    account.session()
    assert account.run(*VERB).returncode == 0
    before = plain.read_bytes()
    again = account.run(*VERB)
    assert again.returncode == 0 and "encrypted already" in again.stdout
    assert plain.read_bytes() == before and len(backups(plain)) == 1


def test_there_is_nothing_to_encrypt(account: Account) -> None:  # noqa: F811
    done = account.run(*VERB)
    assert done.returncode == 1 and "there is no database" in done.stderr and not account.config.db_path.exists()


def test_without_a_passphrase_one_is_made_in_the_wanted_tier(account: Account, plain: Path) -> None:  # noqa: F811
    before = plain.read_bytes()
    refused = account.run(*VERB)
    assert refused.returncode == 1 and "--passphrase-tier" in refused.stderr
    unknown = account.run(*VERB, "--passphrase-tier", "paper")
    assert unknown.returncode == 1 and "paper" in unknown.stderr
    assert plain.read_bytes() == before and backups(plain) == []
    done = account.run(*VERB, "--passphrase-tier", "session-file", "--echo-passphrase")
    made = account.config.vault_passphrase_file.read_text().strip()
    assert done.returncode == 0 and made and made in done.stdout
    with account.config.open_credential_db() as db:
        assert db.list_credentials("default") == ["gh"]


def test_a_database_in_use_stays_as_it_is(account: Account, plain: Path) -> None:  # noqa: F811
    account.session()
    before = plain.read_bytes()
    user = sqlite3.connect(plain, isolation_level=None)
    user.execute("BEGIN IMMEDIATE")
    try:
        done = account.run(*VERB)
    finally:
        user.execute("ROLLBACK")
        user.close()
    assert done.returncode == 1 and "Traceback" not in done.stderr and str(plain) in done.stderr
    assert plain.read_bytes() == before
    assert account.run(*VERB).returncode == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root may write into every directory")
def test_a_folder_that_takes_no_files(account: Account, plain: Path) -> None:  # noqa: F811
    account.session(OLD)
    plain.parent.chmod(0o500)
    try:
        done = account.run(*VERB)
    finally:
        plain.parent.chmod(0o700)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert is_plaintext_sqlite(plain) and backups(plain) == []
