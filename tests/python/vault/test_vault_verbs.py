"""The vault's verbs through the command line: what they print, where, and with which status."""

import json
import os
import sqlite3
import stat

import pytest
from terok_sandbox.commands.vault import handle_vault_seal
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.store.encryption import VaultBusyError, VaultCorruptError, WrongPassphraseError
from tiers_site import OLD, account  # noqa: F401

#: Set-up tells Podman where the hooks are.
not_as_root = pytest.mark.skipif(os.getuid() == 0, reason="root's set-up changes the machine's own configuration")


# improves: 21-3.5-unlock-verified
def test_unlocking_takes_only_the_passphrase_that_opens_the_vault(account):  # noqa: F811
    account.vault()
    path = account.config.vault_passphrase_file
    wrong = account.run("vault", "unlock", stdin="wrong\n")
    assert wrong.returncode == 1 and "passphrase is wrong" in wrong.stderr and not path.exists()
    assert account.run("vault", "unlock", stdin="\n").returncode == 1 and not path.exists()
    right = account.run("vault", "unlock", stdin=f"{OLD}\n")
    assert right.returncode == 0 and path.read_text() == f"{OLD}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert account.config.resolve_passphrase_with_source() == (OLD, "session-file")


def test_unlocking_on_a_terminal(account):  # noqa: F811
    account.vault()
    status, shown = account.on_terminal("vault", "unlock", answers=[("passphrase: ", f"{OLD}\n")])
    assert status == 0 and "unlocked" in shown and OLD not in shown


def test_unlocking_before_there_is_a_vault(account):  # noqa: F811
    assert account.run("vault", "unlock", stdin="first\n").returncode == 0
    assert not account.config.db_path.exists()


def test_locking_names_the_tiers_that_stay(account):  # noqa: F811
    session = account.session()
    assert account.run("vault", "lock").stderr == "" and not session.exists()
    account.configure("credentials: {use_keyring: true, passphrase: p, passphrase_command: 'touch asked'}\n")
    account.config.vault_systemd_creds_file.parent.mkdir(parents=True)
    account.config.vault_systemd_creds_file.write_text("sealed")
    done = account.run("vault", "lock")
    assert done.returncode == 0
    for tier in ("systemd-creds", "keyring", "passphrase_command", "config.yml"):
        assert tier in done.stderr
    assert not os.path.exists("asked"), "no tier is asked"


def test_listing_shows_names_and_never_values(account):  # noqa: F811
    account.vault()
    account.session()
    plain = account.run("vault", "list")
    assert plain.stdout == "default  claude  api_key  key\n"
    shown = json.loads(account.run("vault", "list", "--include-tokens", "--json").stdout)
    assert shown["credentials"] == [
        {"credential_set": "default", "provider": "claude", "type": "api_key", "fields": ["key"]}
    ]
    (token,) = shown["tokens"]
    assert set(token) == {"token_prefix", "scope", "subject", "credential_set", "provider"}
    assert len(token["token_prefix"]) == len("terok-p-") + 9 and token["token_prefix"].endswith("…")
    assert "tokens" not in json.loads(account.run("vault", "list", "--json").stdout)
    assert "sk-secret" not in account.run("vault", "list", "--include-tokens").stdout


def test_a_vault_that_cannot_be_listed_is_status_two(account):  # noqa: F811
    done = account.run("vault", "list")
    assert done.returncode == 2 and done.stdout == "" and "no passphrase" in done.stderr


# improves: 21-2.1-errors-told-apart
def test_three_reasons_are_three_errors_all_the_way(account):  # noqa: F811
    path = account.vault()
    account.session("wrong")
    assert "passphrase is wrong" in account.run("vault", "list").stderr
    with pytest.raises(WrongPassphraseError):
        account.config.open_credential_db()
    account.session()
    holder, other = CredentialDB(path, passphrase=OLD), CredentialDB(path, passphrase=OLD)
    with holder, other, holder.transaction(), pytest.raises(VaultBusyError):
        other.store_credential("default", "codex", {})
    path.write_bytes(b"\x07" * 5000)
    damaged = account.run("vault", "list")
    assert damaged.returncode == 2 and "damaged" in damaged.stderr
    with pytest.raises(VaultCorruptError):
        account.config.open_credential_db()
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    assert "not encrypted" in account.run("vault", "list").stderr


def test_revealing_needs_a_terminal_or_leave_to_redirect(account):  # noqa: F811
    account.session()
    refused = account.run("vault", "passphrase", "reveal")
    assert refused.returncode == 1 and OLD not in refused.stdout + refused.stderr
    done = account.run("vault", "passphrase", "reveal", "--allow-redirect")
    assert done.stdout == f"{OLD}\n" and "acknowledge" in done.stderr
    marker = account.config.vault_recovery_marker_file
    argv = ("vault", "passphrase", "reveal")
    status, shown = account.on_terminal(*argv, answers=[("type SAVED: ", "later\n")])
    assert status == 0 and OLD in shown and not marker.exists()
    status, shown = account.on_terminal(*argv, answers=[("type SAVED: ", "SAVED\n")])
    assert status == 0 and "acknowledged" in shown
    assert marker.read_bytes() == b"" and stat.S_IMODE(marker.stat().st_mode) == 0o600


def test_nothing_to_reveal(account):  # noqa: F811
    done = account.run("vault", "passphrase", "reveal", "--allow-redirect")
    assert done.returncode == 1 and done.stdout == ""


def test_acknowledging_works_while_locked_and_twice(account):  # noqa: F811
    for _ in range(2):
        assert account.run("vault", "passphrase", "acknowledge").returncode == 0
    assert account.config.vault_recovery_marker_file.exists()


def test_destroying_empties_every_tier_of_the_user(account):  # noqa: F811
    account.configure("# kept\ncredentials:\n  passphrase: p\n  passphrase_command: c\n  use_keyring: false\n")
    session = account.session()
    sealed = account.config.vault_systemd_creds_file
    sealed.parent.mkdir(parents=True, exist_ok=True)
    sealed.write_text("sealed")
    account.run("vault", "passphrase", "acknowledge")
    assert account.run("vault", "passphrase", "destroy").returncode == 0
    text = account.file.read_text()
    assert text.startswith("# kept") and "use_keyring: false" in text and "passphrase: null" in text
    assert not session.exists() and not sealed.exists() and not account.config.vault_recovery_marker_file.exists()


def test_destroying_an_unsaved_passphrase_takes_a_word_on_a_terminal(account):  # noqa: F811
    session = account.session()
    argv = ("vault", "passphrase", "destroy")
    status, shown = account.on_terminal(*argv, answers=[("to go on: ", "yes\n")])
    assert status == 1 and "nothing was destroyed" in shown and session.exists()
    status, _ = account.on_terminal(*argv, answers=[("to go on: ", "DESTROY\n")])
    assert status == 0 and not session.exists()


def test_sealing_says_why_it_cannot(account, monkeypatch):  # noqa: F811
    from terok_sandbox.vault.store import systemd_creds

    account.session()
    with pytest.raises(SystemExit, match="choose one of auto, host, tpm, tpm\\+host"):
        handle_vault_seal(key="tpm2")
    monkeypatch.setattr(systemd_creds, "obstacle", lambda: "systemd is too old")
    with pytest.raises(SystemExit, match="too old"):
        handle_vault_seal()


@pytest.fixture
def sealer(account, monkeypatch):  # noqa: F811
    """A stand-in for ``systemd-creds``, which is too old on many machines: it turns the text around."""
    from terok_native import _lib
    from terok_sandbox.vault.store import systemd_creds

    calls = []

    def seal(path, passphrase, mode):
        calls.append(mode)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(passphrase[::-1])

    monkeypatch.setattr(systemd_creds, "obstacle", lambda: None)
    monkeypatch.setattr(_lib, "passphrase_seal", seal)
    monkeypatch.setattr(_lib, "passphrase_unseal", lambda path: path.read_text()[::-1])
    return calls


# improves: 21-3.5-keyring-verified
def test_only_a_passphrase_that_opens_the_vault_is_sealed(account, sealer, capsys):  # noqa: F811
    account.vault()
    with pytest.raises(SystemExit, match="no passphrase is available"):
        handle_vault_seal()
    account.session("stale")
    with pytest.raises(SystemExit, match="wrong"):
        handle_vault_seal()
    assert sealer == []
    account.session()
    for key, mode in (("auto", "auto"), ("host", "host"), ("tpm", "tpm2"), ("tpm+host", "host+tpm2")):
        handle_vault_seal(key=key)
        assert sealer.pop() == mode
    assert account.config.vault_systemd_creds_file.read_text() == OLD[::-1]


def test_what_does_not_open_again_replaces_nothing(account, sealer, monkeypatch):  # noqa: F811
    from terok_native import _lib

    account.session()
    handle_vault_seal()
    monkeypatch.setattr(_lib, "passphrase_unseal", lambda path: "something else")
    with pytest.raises(SystemExit, match="opens as something else"):
        handle_vault_seal()
    sealed = account.config.vault_systemd_creds_file
    assert sealed.read_text() == OLD[::-1] and [p.name for p in sealed.parent.iterdir()] == [sealed.name]


@pytest.mark.parametrize("verb", ["start", "stop", "status", "install", "uninstall"])
def test_retired_verbs_explain_themselves(account, verb):  # noqa: F811
    account.vault()
    done = account.run("vault", verb)
    assert done.returncode == 0 and "no vault service for the whole host" in done.stdout
    if verb == "status":
        assert str(account.config.db_path) in done.stdout and "(locked)" in done.stdout


@not_as_root
@pytest.mark.parametrize("tier", ["session-file", "config"])
def test_set_up_stores_a_new_passphrase_in_the_chosen_tier(account, tier):  # noqa: F811
    left = account.home / ".config" / "systemd" / "user" / "terok-vault.socket"
    left.parent.mkdir(parents=True)
    left.write_text("# terok-vault-version: 13\n[Socket]\n")
    done = account.run("setup", "--passphrase-tier", tier, "--echo-passphrase")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removed terok-vault.socket" in done.stdout and not left.exists()
    shown = next(line for line in done.stdout.splitlines() if "off this host" in line).split(": ")[1]
    assert account.config.resolve_passphrase_with_source() == (shown, tier)
    account.config.open_credential_db().close()
    again = account.run("setup", "--passphrase-tier", tier)
    assert again.returncode == 0 and "opens" in again.stdout


@not_as_root
def test_set_up_leaves_a_locked_vault_alone(account):  # noqa: F811
    account.vault()
    done = account.run("setup", "--passphrase-tier", "session-file")
    assert done.returncode == 0 and "locked" in done.stdout
    assert not account.config.vault_passphrase_file.exists()


def test_set_up_refuses_before_it_changes_anything(account):  # noqa: F811
    for tier, said in (("nowhere", "choose one of"), ("systemd-creds", "systemd-creds"), (None, "no terminal to ask")):
        done = account.run("setup", *(["--passphrase-tier", tier] if tier else []), PATH=os.environ["PATH"])
        assert done.returncode == 1 and said in done.stderr
    assert not account.config.db_path.exists() and not (account.home / "root").exists()


@not_as_root
def test_set_up_fails_where_the_keyring_does(account):  # noqa: F811
    done = account.run("setup", "--passphrase-tier", "keyring")
    assert done.returncode == 1 and "keyring did not take" in done.stdout
    assert not account.config.db_path.exists() and not account.file.exists()


@not_as_root
def test_set_up_asks_on_a_terminal(account):  # noqa: F811
    """Plain text takes an explicit yes."""
    if account.config and not _too_old():
        pytest.skip("this host can seal, so it is not asked")
    status, _ = account.on_terminal("setup", answers=[("[keyring] ", "config\n"), ("Type yes: ", "y\n")])
    assert status == 1 and not account.file.exists()
    status, shown = account.on_terminal("setup", answers=[("[keyring] ", "config\n"), ("Type yes: ", "yes\n")])
    assert status == 0 and account.config.resolve_passphrase_with_source()[1] == "config", shown


@not_as_root
@pytest.mark.parametrize("key", ["\x04", "\x03"])
def test_who_answers_nothing_gets_a_word_and_no_traceback(account, key):  # noqa: F811
    if account.config and not _too_old():
        pytest.skip("this host can seal, so it is not asked")
    status, shown = account.on_terminal("setup", answers=[("[keyring] ", key)])
    assert status == 1 and "no passphrase tier was chosen" in shown and "Traceback" not in shown
    assert not account.config.db_path.exists()


def test_set_up_makes_no_passphrase_over_that_of_a_locked_keyring(account, monkeypatch):  # noqa: F811
    from terok_sandbox.commands import provisioning
    from terok_sandbox.vault.store import encryption

    asked = []
    monkeypatch.setattr(encryption, "load_passphrase_from_keyring", lambda: asked.append(1) or "there")
    assert provisioning.existing(account.config) is None and asked == []
    account.configure("credentials: {use_keyring: true}\n")
    assert provisioning.existing(account.config) == "there"
    account.session("nearer")
    assert provisioning.existing(account.config) == "nearer" and asked == [1]


def _too_old() -> bool:
    from terok_sandbox.vault.store import systemd_creds

    return not systemd_creds.is_available()
