"""Key files of every kind, checked against OpenSSH and OpenSSL; what is refused, and that it leaves nothing."""

from __future__ import annotations

import stat
import subprocess

import pytest
from terok_sandbox.vault.ssh import keypair
from terok_sandbox.vault.ssh.keypair import KeypairMismatchError, PasswordProtectedKeyError
from terok_sandbox.vault.ssh.manager import SSHManager
from terok_sandbox.vault.store.db import CredentialDB, InvalidScopeName, UnsafeCommentError

KINDS = {"ed25519": (), "rsa": ("-b", "2048"), "ecdsa": ("-b", "256"), "ecdsa-384": ("-b", "384")}


@pytest.fixture
def db(tmp_path):
    with CredentialDB(tmp_path / "vault" / "credentials.db", passphrase="x") as opened:
        yield opened


def run(*argv: object) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


def keygen(path, kind="ed25519", *more, passphrase=""):
    run("ssh-keygen", "-q", "-t", kind.split("-")[0], "-N", passphrase, "-C", "a comment", "-f", path, *more)
    return path


# improves: 21-6.5-other-key-files
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["OpenSSH", "PEM", "PKCS8", "OpenSSH locked", "PEM locked", "PKCS8 locked"])
def test_every_form_comes_in_and_goes_out_as_the_same_key(db, tmp_path, kind, form):
    name, _, locked = form.partition(" ")
    if name != "OpenSSH" and kind == "ed25519":
        if locked:
            pytest.skip("ssh-keygen writes ed25519 in its own form alone; OpenSSL's is tested below")
        path = tmp_path / "key"
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", path)
        expected = None
    else:
        format_ = () if name == "OpenSSH" else ("-m", name)
        path = keygen(tmp_path / "key", kind, *KINDS[kind], *format_, passphrase="geheim ä" if locked else "")
        expected = run("ssh-keygen", "-lf", f"{path}.pub").split()[1]
    if locked:
        for wrong in (None, "falsch"):
            with pytest.raises(PasswordProtectedKeyError):
                keypair.import_ssh_keypair(db, "p", path, passphrase=wrong)
        assert db.count_ssh_keys() == 0
    done = keypair.import_ssh_keypair(db, "p", path, passphrase="geheim ä" if locked else None)
    assert expected in (None, done.fingerprint)
    out = keypair.export_ssh_keypair(db, "p", tmp_path / "deep" / "out")
    assert stat.S_IMODE(out.private_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(out.public_path.stat().st_mode) == 0o644
    for path in (out.private_path, out.public_path):
        assert run("ssh-keygen", "-lf", path).split()[1] == done.fingerprint
    assert run("ssh-keygen", "-y", "-f", out.private_path).split()[:2] == out.public_path.read_text().split()[:2]
    (record,) = db.load_ssh_keys_for_scope("p")
    if kind == "ed25519":
        assert len(record.private_der) == 48
    der = tmp_path / "der"
    der.write_bytes(record.private_der)
    assert "PRIVATE KEY" in run("openssl", "pkcs8", "-inform", "DER", "-nocrypt", "-in", der)


@pytest.mark.parametrize("cipher", ["aes256-ctr", "aes128-cbc", "aes256-gcm@openssh.com"])
def test_ciphers_of_openssh(tmp_path, cipher):
    path = keygen(tmp_path / "key", "ed25519", "-Z", cipher, passphrase="pw")
    made = keypair.parse_openssh_keypair(path.read_bytes(), passphrase="pw")
    assert made.fingerprint in run("ssh-keygen", "-lf", f"{path}.pub")


def test_pkcs8_of_openssl_with_a_passphrase_and_with_a_public_part(tmp_path):
    plain, locked = tmp_path / "plain", tmp_path / "locked"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", plain)
    run("openssl", "pkcs8", "-topk8", "-in", plain, "-out", locked, "-passout", "pass:pw")
    ours = keypair.parse_openssh_keypair(plain.read_bytes())
    assert keypair.parse_openssh_keypair(locked.read_bytes(), passphrase="pw") == ours
    longer = b"\x30\x51\x02\x01\x01" + ours.private_der[5:] + b"\x81\x21\x00" + ours.public_blob[-32:]
    import base64

    text = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(longer) + b"-----END PRIVATE KEY-----\n"
    assert keypair.parse_openssh_keypair(text).private_der == ours.private_der


# improves: 21-6.5-short-rsa
def test_short_rsa_keys_are_refused(db, tmp_path):
    path = keygen(tmp_path / "key", "rsa", "-b", "1024")
    with pytest.raises(ValueError, match="1024 bits"):
        keypair.import_ssh_keypair(db, "p", path)
    assert db.count_ssh_keys() == 0


# improves: 21-6.5-import-no-orphan
@pytest.mark.parametrize("scope", ["../x", "%host", "", "a b"])
def test_a_refused_scope_leaves_no_key(db, tmp_path, scope):
    path = keygen(tmp_path / "key")
    with pytest.raises(InvalidScopeName):
        keypair.import_ssh_keypair(db, scope, path)
    with pytest.raises(UnsafeCommentError):
        keypair.import_ssh_keypair(db, "p", path, comment="a\nb")
    assert db.count_ssh_keys() == 0


# improves: 21-6.6-init-no-orphan
def test_a_refused_scope_leaves_no_generated_key(db):
    for scope in ("%host", "../x"):
        with pytest.raises(InvalidScopeName):
            SSHManager(scope=scope, db=db).init()
    assert db.count_ssh_keys() == 0


def test_what_cannot_be_taken_is_named(db, tmp_path):
    run("openssl", "genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", tmp_path / "par")
    run("openssl", "genpkey", "-paramfile", tmp_path / "par", "-out", tmp_path / "dsa")
    run("openssl", "genpkey", "-algorithm", "x25519", "-out", tmp_path / "x")
    one, two = keygen(tmp_path / "one"), keygen(tmp_path / "two")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "torn").write_bytes(one.read_bytes()[:-60])
    (tmp_path / "bad.pub").write_text("ssh-ed25519 no-base64")
    for name, text in [("dsa", "dsa"), ("x", "x25519"), ("one.pub", "public key"), ("empty", "text file"), ("torn", "end")]:
        with pytest.raises(ValueError, match=text):
            keypair.import_ssh_keypair(db, "p", tmp_path / name)
    with pytest.raises(KeypairMismatchError):
        keypair.import_ssh_keypair(db, "p", one, two.with_suffix(".pub"))
    with pytest.raises(ValueError, match="base64"):
        keypair.import_ssh_keypair(db, "p", one, tmp_path / "bad.pub")
    with pytest.raises(FileNotFoundError):
        keypair.import_ssh_keypair(db, "p", tmp_path / "none")
    with pytest.raises(ValueError, match="dsa"):
        keypair.generate_keypair("dsa", comment="")
    assert db.count_ssh_keys() == 0


def test_importing_twice_keeps_the_first_comment(db, tmp_path):
    path = keygen(tmp_path / "key")
    first = keypair.import_ssh_keypair(db, "p", path, path.with_suffix(".pub"))
    again = keypair.import_ssh_keypair(db, "p", path, comment="other")
    elsewhere = keypair.import_ssh_keypair(db, "q", path)
    assert (first.comment, first.already_present, first.scope_was_assigned) == ("a comment", False, False)
    assert (again.comment, again.already_present, again.scope_was_assigned) == ("other", True, True)
    assert (elsewhere.already_present, elsewhere.scope_was_assigned) == (True, False)
    assert [row.comment for row in db.list_ssh_keys_for_scope("p")] == ["a comment"]


def test_an_export_overwrites_nothing(db, tmp_path):
    SSHManager(scope="p", db=db).init()
    out = keypair.export_ssh_keypair(db, "p", tmp_path, out_name="key")
    with pytest.raises(FileExistsError):
        keypair.export_ssh_keypair(db, "p", tmp_path, out_name="key")
    out.private_path.unlink()
    with pytest.raises(FileExistsError):
        keypair.export_ssh_keypair(db, "p", tmp_path, out_name="key")
    assert not out.private_path.exists(), "half an export is taken back"
    for name in ("a/b", "..", ".", "", "a\0b"):
        with pytest.raises(ValueError, match="file name"):
            keypair.export_ssh_keypair(db, "p", tmp_path, out_name=name)
    for scope, number in (("p", 99), ("unknown", None)):
        with pytest.raises(ValueError, match="no key"):
            keypair.export_ssh_keypair(db, scope, tmp_path, number)


def test_the_keys_a_scope_is_given(db):
    manager = SSHManager(scope="p", db=db)
    main = manager.init()
    assert isinstance(main, dict)
    assert main["comment"] == "tk-main:p"
    assert main["public_line"].endswith(" tk-main:p")
    assert manager.init() == main
    plain = manager.init(comment="")
    assert plain["comment"] == ""
    assert not plain["public_line"].endswith(" ")
    side = SSHManager(scope="q", db=db)
    side.init(comment="mine")
    assert side.init()["comment"] == "tk-side:q:2"
    forced = manager.init(force=True)
    assert [row.id for row in db.list_ssh_keys_for_scope("p")] == [forced["key_id"]]
    assert forced["comment"] == "tk-main:p"


def test_the_products_own_keys(db):
    made = keypair.ensure_infra_keypair("%host", db=db)
    again = keypair.ensure_infra_keypair("%host", db=db, comment="other")
    assert (made.created, again.created, made.fingerprint) == (True, False, again.fingerprint)
    assert made.public_line.endswith("terok-infra:%host")
    assert b"OPENSSH" in made.private_pem
    assert "OPENSSH" not in repr(made)
    with pytest.raises(ValueError, match="%"):
        keypair.ensure_infra_keypair("plain", db=db)
