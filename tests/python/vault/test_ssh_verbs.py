"""The verbs about SSH keys, run as commands: what they print, which files they write, and with which status."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from terok_sandbox.vault.ssh.keypair import ensure_infra_keypair
from terok_sandbox.vault.store.db import CredentialDB
from tiers_site import Account, account, needs  # noqa: F401

pytestmark = needs("ssh-keygen")


@pytest.fixture
def vault(account: Account) -> Account:  # noqa: F811
    """An unlocked vault with one of the product's own keys."""
    account.vault()
    account.session()
    with account.config.open_credential_db() as db:
        ensure_infra_keypair("%host", db=db)
    return account


def ran(vault: Account, *words: str, status: int = 0, stdin: str = "") -> str:
    """Both outputs of an ``ssh`` verb that ends with *status*; what fails is said on one line and is no traceback."""
    done = vault.run("ssh", *words, stdin=stdin)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def keys(vault: Account, scope: str) -> list[tuple[str, str]]:
    with vault.config.open_credential_db() as db:
        return [(row.fingerprint, row.comment) for row in db.list_ssh_keys_for_scope(scope)]


def openssh(path: Path, *more: str) -> str:
    """Make a key with OpenSSH's own program; return its fingerprint."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", *more, "-f", path], check=True)
    return fingerprint(path)


def fingerprint(path: Path) -> str:
    shown = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True)
    return shown.stdout.split()[1]


def test_add_list_and_pub(vault: Account) -> None:
    assert "no SSH key" in ran(vault, "list")
    made = vault.run("ssh", "add", "web", "--comment", "deploy")
    kind, blob, comment = made.stdout.split()
    assert made.returncode == 0 and (kind, comment) == ("ssh-ed25519", "deploy")
    assert vault.run("ssh", "pub", "web").stdout == made.stdout
    rsa = vault.run("ssh", "add", "web", "--key-type", "rsa", "--comment", "second").stdout
    assert rsa.startswith("ssh-rsa ") and vault.run("ssh", "pub", "web").stdout == rsa
    assert vault.run("ssh", "pub", "web", "--all").stdout == made.stdout + rsa
    header, first, second = vault.run("ssh", "list", "--scope", "web").stdout.splitlines()
    assert header.split() == ["SCOPE", "ID", "TYPE", "FINGERPRINT", "COMMENT"]
    scope, number, kind, shown, comment = first.split()
    assert (scope, kind, comment) == ("web", "ed25519", "deploy") and second.split()[4] == "second"
    assert shown == keys(vault, "web")[0][0]
    assert vault.run("ssh", "pub", "web", "--key-id", number).stdout == made.stdout
    assert "exclude each other" in ran(vault, "pub", "web", "--all", "--key-id", number, status=1)
    assert "no key with the number 99" in ran(vault, "pub", "web", "--key-id", "99", status=1)
    ran(vault, "add", "web", "--force")
    assert len(keys(vault, "web")) == 1 and blob not in vault.run("ssh", "pub", "web", "--all").stdout


def test_mistakes_are_told_apart_by_status(vault: Account) -> None:
    assert "has no SSH key" in ran(vault, "list", "--scope", "unknown", status=1)
    assert "has no SSH key" in ran(vault, "pub", "unknown", status=1)
    ran(vault, "add", "web", "--key-type", "dsa", status=1)
    ran(vault, "add", "../web", status=1)
    ran(vault, "add", "web", "--comment", "two\nlines", status=1)
    ran(vault, "add", status=2)
    ran(vault, "link", "web", status=2)
    ran(vault, "import", "web", status=2)
    ran(vault, "nonsense", status=2)
    assert "usage" in ran(vault)
    assert keys(vault, "web") == []


def test_a_locked_vault_is_one_line(vault: Account) -> None:
    vault.config.vault_passphrase_file.unlink()
    for words in (("list",), ("add", "web"), ("remove", "--scope", "web", "--yes")):
        assert "no passphrase" in ran(vault, *words, status=1)


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--scope", "%host"),
        ("import", "%host", "--private-key", "unread"),
        ("add", "%host"),
        ("export", "%host", "--out-dir", "out"),
        ("pub", "%host"),
        ("link", "%host", "--key-id", "1"),
        ("remove", "--scope", "%host", "--yes"),
    ],
    ids=lambda words: words[0],
)
def test_scopes_of_the_product_are_refused(vault: Account, words: tuple[str, ...]) -> None:
    before = keys(vault, "%host")
    assert "reserved" in ran(vault, *words, status=1)
    assert keys(vault, "%host") == before and len(before) == 1


def test_keys_of_the_product_are_hidden(vault: Account) -> None:
    (infra, _), *_ = keys(vault, "%host")
    ran(vault, "add", "web", "--comment", "deploy")
    shown = ran(vault, "list")
    assert "%host" not in shown and infra not in shown
    with vault.config.open_credential_db() as db:
        number = db.get_ssh_key_by_fingerprint(infra).id
    assert "no key with the number" in ran(vault, "link", "web", "--key-id", str(number), status=1)
    assert "no key has a fingerprint" in ran(vault, "rename", infra, "mine now", status=1)
    assert "no key fits" in ran(vault, "remove", "--fingerprint", infra, "--yes", status=1)
    ran(vault, "remove", "--comment", "*", "--yes")
    assert [name for name, _ in keys(vault, "%host")] == [infra] and keys(vault, "web") == []


def test_import_and_export(vault: Account, tmp_path: Path) -> None:
    print_ = openssh(tmp_path / "mine")
    ran(vault, "import", "web", "--private-key", str(tmp_path / "mine"), "--public-key", str(tmp_path / "mine.pub"))
    assert keys(vault, "web") == [(print_, "mine")]
    again = ran(vault, "import", "shop", "--private-key", str(tmp_path / "mine"))
    assert "there already" in again and "may use it now" in again
    out = tmp_path / "out"
    umask = os.umask(0)
    try:
        ran(vault, "export", "web", "--out-dir", str(out), "--out-name", "copy")
    finally:
        os.umask(umask)
    assert fingerprint(out / "copy") == print_ == fingerprint(out / "copy.pub")
    assert stat.S_IMODE((out / "copy").stat().st_mode) == 0o600
    held = (out / "copy").read_bytes()
    ran(vault, "export", "web", "--out-dir", str(out), "--out-name", "copy", status=1)
    ran(vault, "export", "web", "--out-dir", str(out), "--out-name", "../copy", status=1)
    ran(vault, "export", "unknown", "--out-dir", str(out), status=1)
    assert (out / "copy").read_bytes() == held and sorted(p.name for p in out.iterdir()) == ["copy", "copy.pub"]


def test_import_refuses_what_does_not_fit(vault: Account, tmp_path: Path) -> None:
    openssh(tmp_path / "mine")
    openssh(tmp_path / "other")
    openssh(tmp_path / "locked", "-N", "secret")
    (tmp_path / "junk").write_text("no key")
    argv = ("import", "web", "--private-key")
    ran(vault, *argv, str(tmp_path / "missing"), status=1)
    ran(vault, *argv, str(tmp_path / "junk"), status=1)
    ran(vault, *argv, str(tmp_path / "mine"), "--public-key", str(tmp_path / "other.pub"), status=1)
    assert "passphrase" in ran(vault, *argv, str(tmp_path / "locked"), status=1)
    assert keys(vault, "web") == []
    answers = [("Passphrase of", "secret\n")]
    status, shown = vault.on_terminal("ssh", *argv, str(tmp_path / "locked"), answers=answers)
    assert status == 0 and "secret" not in shown and keys(vault, "web") == [(fingerprint(tmp_path / "locked.pub"), "")]


def test_link(vault: Account) -> None:
    ran(vault, "add", "web")
    number = ran(vault, "list", "--scope", "web").splitlines()[1].split()[1]
    assert "may use key" in ran(vault, "link", "shop", "--key-id", number)
    assert keys(vault, "shop") == keys(vault, "web")
    ran(vault, "remove", "--scope", "web", "--yes")
    assert keys(vault, "web") == [] and len(keys(vault, "shop")) == 1, "the other scope keeps it"
    assert "no key with the number 99" in ran(vault, "link", "shop", "--key-id", "99", status=1)


def alike(vault: Account) -> tuple[str, str]:
    """Two keys whose fingerprints begin alike, as they may; made by hand, as it would take long to meet them."""
    made = "SHA256:AbCd" + "1" * 39, "SHA256:AbCd" + "2" * 39
    with vault.config.open_credential_db() as db:
        for number, text in enumerate(made):
            blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32
            db.assign_ssh_key("web", db.store_ssh_key("ed25519", bytes([number]) * 48, blob, f"old {number}", text))
    return made


def test_rename_wants_one_key(vault: Account) -> None:
    first, second = alike(vault)
    for prefix in ("SHA256:AbCd", "AbCd"):
        shown = ran(vault, "rename", prefix, "new", status=1)
        assert first in shown and second in shown and "fits 2 keys" in shown
    assert {comment for _, comment in keys(vault, "web")} == {"old 0", "old 1"}
    ran(vault, "rename", "AbCd1", "new")
    assert dict(keys(vault, "web")) == {first: "new", second: "old 1"}
    for nothing in ("XXXX", "SHA256:", ""):
        ran(vault, "rename", nothing, "new", status=1)
    ran(vault, "rename", "AbCd1", "two\nlines", status=1)
    assert dict(keys(vault, "web")) == {first: "new", second: "old 1"}


def test_remove_asks_unless_told_not_to(vault: Account) -> None:
    first, _ = alike(vault)
    assert "needs a filter" in ran(vault, "remove", "--yes", status=1)
    assert "nothing was removed" in ran(vault, "remove", "--scope", "web", status=1)
    assert "nothing was removed" in ran(vault, "remove", "--scope", "web", status=1, stdin="n\n")
    assert "nothing was removed" in ran(vault, "remove", status=1, stdin="3\n")
    assert "nothing was removed" in ran(vault, "remove", status=1, stdin="1\nno\n")
    assert len(keys(vault, "web")) == 2
    assert "no key fits" in ran(vault, "remove", "--comment", "old", "--yes", status=1), "a pattern fits the whole"
    ran(vault, "remove", stdin="2\ny\n")
    assert [name for name, _ in keys(vault, "web")] == [first]
    ran(vault, "remove", "--comment", "old*", "--fingerprint", "AbCd1", "--yes")
    assert keys(vault, "web") == []
    with CredentialDB(vault.config.db_path, passphrase="old passphrase") as db:
        assert db.get_ssh_key_by_fingerprint(first) is None, "a key without a scope is deleted"
    assert "the vault has no SSH key" in ran(vault, "remove", status=1)
