"""The vault's status in both shapes, the recovery key, the management names of the older generation, the health checks."""

import dataclasses
import json
import stat
from types import MappingProxyType

import pytest
import terok_sandbox.supervisor.install as install
from terok.lib.api.vault import VaultManager, VaultStatus, VaultStatusSnapshot, vault_db
from terok.lib.domain.vault import maybe_vault_db
from terok_native import _lib
from terok_sandbox import doctor
from terok_sandbox.vault.daemon.lifecycle import VaultUnreachableError
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.store.encryption import NoPassphraseError, WrongPassphraseError
from terok_sandbox.vault.store.recovery import RecoveryStatus
from tiers_site import OLD, account  # noqa: F401


@pytest.fixture
def hooks(monkeypatch):
    """Decide whether the hooks count as installed; installing really is tested elsewhere."""
    state = {"problem": None}
    monkeypatch.setattr(install, "check_supervisor_hooks", lambda: state["problem"])
    return state


def test_a_snapshot_of_an_open_vault(account):  # noqa: F811
    path = account.vault()
    account.session()
    with CredentialDB(path, passphrase=OLD) as db:
        db.store_credential("other", "claude", {"type": "oauth"})
        db.store_credential("other", "gh", {"token": "x"})
        key = db.store_ssh_key("ed25519", b"d", b"p", "c", "SHA256:x")
        db.assign_ssh_key("one", key)
        db.assign_ssh_key("two", key)
    found = VaultStatusSnapshot.load()
    assert dataclasses.astuple(dataclasses.replace(found, credential_types={})) == (
        False, "session-file", ("claude", "gh"), 2, None, str(path), False, None, {},
    )  # fmt: skip
    assert found.credential_types == {"claude": "api_key", "gh": "unknown"}
    assert isinstance(found.credential_types, MappingProxyType) and found.session_only_passphrase


# improves: 40-4.6-no-dialogue
def test_looking_at_the_vault_never_opens_the_dialogue_of_a_locked_keyring(account, monkeypatch):  # noqa: F811
    account.vault()
    account.configure("credentials: {use_keyring: true}\n")
    asked, resolve = [], _lib.vault_resolve_passphrase

    def look(tiers):
        asked.append(tiers["keyring_may_ask"])
        return resolve(tiers)

    monkeypatch.setattr(_lib, "vault_resolve_passphrase", look)
    assert VaultStatusSnapshot.load().locked and RecoveryStatus.load().source is None
    assert VaultManager().get_status().locked
    assert account.config.resolve_passphrase_with_source() == (None, None)
    with maybe_vault_db() as db:
        assert db is None
    with pytest.raises(NoPassphraseError, match="desktop's keyring"):
        account.config.open_credential_db()
    assert len(asked) == 6 and not any(asked)
    account.config.resolve_passphrase_with_source(prompt_on_tty=True)
    assert asked[-1] is True


@pytest.mark.parametrize("passphrase", [None, "wrong"])
def test_a_snapshot_of_a_locked_vault(account, passphrase):  # noqa: F811
    account.vault()
    if passphrase:
        account.session(passphrase)
    found = VaultStatusSnapshot.load()
    assert found.locked and found.db_error is None and not found.session_only_passphrase
    assert found.credentials_stored is None and found.ssh_keys_stored is None
    assert found.passphrase_source == ("session-file" if passphrase else None)


def test_a_snapshot_tells_other_trouble_and_plain_text(account):  # noqa: F811
    account.configure(f"credentials: {{passphrase: {OLD}}}\n")
    account.vault().write_bytes(b"\x07" * 5000)
    found = VaultStatusSnapshot.load()
    assert not found.locked and "damaged" in found.db_error
    assert found.plaintext_passphrase_path == str(account.file)


def test_a_snapshot_makes_the_vault_that_is_missing(account):  # noqa: F811
    account.session()
    assert VaultStatusSnapshot.load().credentials_stored == ()
    assert account.config.db_path.exists()


def test_the_older_status_is_filled_truthfully(account, hooks):  # noqa: F811
    account.vault()
    account.session()
    account.config.routes_path.write_text(json.dumps({"a": {}, "b": {}}))
    found = VaultManager().get_status()
    cfg = account.config
    assert found == VaultStatus(
        mode="daemon", running=True, healthy=True, socket_path=cfg.vault_socket_path, db_path=cfg.db_path,
        routes_path=cfg.routes_path, routes_configured=2, credentials_stored=("claude",), transport="socket",
        ssh_keys_stored=0, passphrase_source="session-file", locked=False, plaintext_passphrase_path=None,
    )  # fmt: skip
    hooks["problem"] = "the hook is missing"
    found = VaultManager(cfg).get_status()
    assert (found.mode, found.running, found.healthy) == ("none", False, False)
    assert found.credentials_stored == ("claude",), "what the vault holds is told anyway"


def test_the_older_status_of_a_locked_vault(account, hooks):  # noqa: F811
    assert not VaultManager().get_status().locked, "without a vault nothing is locked"
    account.vault()
    found = VaultManager().get_status()
    assert found.locked and not found.running and found.mode == "daemon"
    account.config.db_path.write_bytes(b"\x07" * 5000)
    account.session()
    assert not VaultManager().get_status().locked


def test_reachable_means_installed_and_open(account, hooks):  # noqa: F811
    account.vault()
    manager = VaultManager(account.config)
    with pytest.raises(VaultUnreachableError, match="no passphrase") as caught:
        manager.ensure_reachable()
    assert caught.value.db_path == account.config.db_path
    assert caught.value.socket_path == account.config.vault_socket_path
    account.session()
    manager.ensure_reachable()
    hooks["problem"] = "the hook is missing"
    with pytest.raises(VaultUnreachableError, match="hook is missing"):
        manager.ensure_reachable()
    assert not manager.is_socket_installed() and not manager.is_daemon_running()


def test_ports_are_told_in_tcp_mode_only(account):  # noqa: F811
    account.configure("vault: {port: 18001, ssh_signer_port: 18002}\n")
    assert (VaultManager().token_broker_port, VaultManager().ssh_signer_port) == (None, None)
    account.configure("vault: {port: 18001, ssh_signer_port: 18002}\nservices: {mode: tcp}\n")
    manager = VaultManager(account.config)
    assert (manager.token_broker_port, manager.ssh_signer_port) == (18001, 18002)


def test_units_of_the_older_generation_are_swept_and_others_stay(account, monkeypatch):  # noqa: F811
    monkeypatch.setattr(install, "install_supervisor_hooks", lambda: None)
    folder = account.home / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    (folder / "terok-vault.socket").write_text("# terok-vault-version: 13\n[Socket]\n")
    (folder / "terok-vault.service").write_text("[Service]\n# mine\n")
    (folder / "other.service").write_text("# terok-vault-version: 13\n")
    VaultManager().install_systemd_units()
    assert sorted(path.name for path in folder.iterdir()) == ["other.service", "terok-vault.service"]


def test_stopping_without_supervisors_is_fine(account, hooks):  # noqa: F811
    VaultManager().stop_daemon()
    VaultManager().start_daemon()


def test_the_recovery_key(account):  # noqa: F811
    assert RecoveryStatus.load() == RecoveryStatus(acknowledged=False, source=None)
    account.session()
    assert RecoveryStatus.load().session_only and RecoveryStatus.load().urgent
    account.vault()
    RecoveryStatus.acknowledge()
    RecoveryStatus.acknowledge(account.config)
    marker = account.config.vault_recovery_marker_file
    assert marker.stat().st_size == 0 and stat.S_IMODE(marker.stat().st_mode) == 0o600
    assert RecoveryStatus.is_acknowledged() and not RecoveryStatus.load().urgent
    account.configure("credentials: {passphrase_command: 'false'}\n")
    account.config.vault_passphrase_file.unlink()
    assert RecoveryStatus.load().source is None, "a tier that fails counts as none"


def test_the_contexts_open_and_close(account):  # noqa: F811
    with pytest.raises(NoPassphraseError), vault_db():
        pass
    with maybe_vault_db() as db:
        assert db is None
    account.vault()
    account.session()
    with vault_db(cfg=account.config) as db:
        assert db.list_credentials("default") == ["claude"]
    with pytest.raises(RuntimeError, match="closed"):
        db.list_credentials("default")
    with pytest.raises(WrongPassphraseError, match="mine"), maybe_vault_db() as db:
        raise WrongPassphraseError("mine")


def verdicts() -> dict[str, tuple[str, str]]:
    checks = [*doctor.sandbox_doctor_checks(), doctor.make_recovery_acknowledged_check()]
    return {c.label: (v.severity, v.detail) for c in checks for v in [doctor.run_check(c)]}


def test_the_health_checks(account):  # noqa: F811
    found = verdicts()
    assert found["Credentials DB passphrase"][0] == "error" and "vault unlock" in found["Credentials DB passphrase"][1]
    assert found["Recovery key acknowledged"][0] == "warn" and found["Plaintext passphrase"][0] == "ok"
    account.vault()
    account.session()
    found = verdicts()
    assert found["Credentials DB passphrase"] == ("ok", "from session-file")
    assert found["Recovery key acknowledged"][0] == "error"
    account.session("stale")
    assert "wrong" in verdicts()["Credentials DB passphrase"][1]
    account.config.vault_passphrase_file.unlink()
    account.configure(f"credentials: {{passphrase: {OLD}}}\n")
    found = verdicts()
    assert found["Plaintext passphrase"][0] == "warn" and str(account.file) in found["Plaintext passphrase"][1]
    assert found["Recovery key acknowledged"][0] == "warn"
    RecoveryStatus.acknowledge()
    assert verdicts()["Recovery key acknowledged"][0] == "ok"
    account.configure("credentials: {passphrase_command: 'false'}\n")
    found = verdicts()["Credentials DB passphrase"]
    assert found[0] == "error" and "passphrase-command" in found[1]
