"""``SandboxConfig``, the section readers behind it, and the paths of the sandbox."""

import dataclasses
import os
from pathlib import Path

import pytest
from terok_sandbox import SandboxConfig, config, gate_use_personal_ssh_default, paths, yaml_update_section

FIELDS = [
    "state_dir",
    "runtime_dir",
    "config_dir",
    "vault_dir",
    "gate_port",
    "token_broker_port",
    "ssh_signer_port",
    "shield_profiles",
    "shield_audit",
    "shield_bypass",
    "credentials_passphrase",
    "credentials_use_keyring",
    "credentials_passphrase_command",
    "services_mode",
    "experimental",
    "allow_root",
]


def test_root_is_asked_for_by_a_variable(home, monkeypatch):
    assert [SandboxConfig().allow_root] == [False]
    for value, allowed in (("1", True), ("yes", False), ("", False)):
        monkeypatch.setenv("TEROK_ALLOW_ROOT", value)
        assert SandboxConfig().allow_root is allowed


def test_defaults(home):
    cfg = SandboxConfig()
    assert cfg.state_dir == home / ".local/share/terok/sandbox" and cfg.vault_dir == home / ".local/share/terok/vault"
    assert cfg.config_dir == home / ".config/terok/sandbox" and cfg.runtime_dir == home / ".local/state/terok/sandbox"
    assert (cfg.services_mode, cfg.shield_audit, cfg.shield_bypass, cfg.experimental) == ("socket", True, False, False)
    assert (cfg.gate_port, cfg.token_broker_port, cfg.ssh_signer_port) == (None, None, None)
    assert [field.name for field in dataclasses.fields(cfg)] == FIELDS
    assert cfg == SandboxConfig() and list(home.iterdir()) == []


def test_it_is_a_frozen_value(home):
    cfg = SandboxConfig("/s", "/r")
    assert dataclasses.replace(cfg, gate_port=1).gate_port == 1 and (cfg.state_dir, cfg.runtime_dir) == ("/s", "/r")
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.gate_port = 1
    assert "hunter2" not in repr(SandboxConfig(credentials_passphrase="hunter2"))


def test_values_come_from_the_file(configure):
    configure(
        "services: {mode: tcp}\nvault: {port: 5001, ssh_signer_port: 5002}\ngate_server: {port: 5003}\n"
        "credentials: {passphrase: 12345, use_keyring: yes, passphrase_command: pass show x}\nexperimental: true\n"
        "shield: {audit: false, profiles: {a: [x]}, bypass_firewall_no_protection: true}\n"
    )
    cfg = SandboxConfig()
    assert (cfg.services_mode, cfg.experimental, cfg.shield_audit, cfg.shield_bypass) == ("tcp", True, False, False)
    assert (cfg.gate_port, cfg.token_broker_port, cfg.ssh_signer_port) == (5003, 5001, 5002)
    assert cfg.with_resolved_ports() is cfg
    secret = (cfg.credentials_passphrase, cfg.credentials_use_keyring, cfg.credentials_passphrase_command)
    assert secret == ("12345", True, "pass show x")


@pytest.mark.parametrize("text", ["services: {mode: bogus}\n", "services: tcp\n", "services: {mode: tcp, x: 1}\n"])
def test_a_broken_section_is_ignored_with_one_warning(configure, capfd, text):
    configure(text)
    assert [SandboxConfig().services_mode for _ in range(3)] == ["socket"] * 3
    assert capfd.readouterr().err.count("`services`") == 1


def test_a_section_of_null_is_empty(configure, capfd):
    configure("services:\nvault: {port: null}\n")
    assert SandboxConfig().services_mode == "socket" and SandboxConfig().token_broker_port is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "on"), [("true", True), ("'true'", False), ("yes", False), ("1", False), ("{}", False)]
)
def test_experimental_is_a_real_boolean(configure, text, on):
    configure(f"experimental: {text}\n")
    assert SandboxConfig().experimental is on


@pytest.mark.parametrize(
    ("text", "on"),
    [("", False), ("ssh: {use_personal: true}", True), ("ssh: {use_personal: 7}", False), ("ssh: x", False)],
)
def test_personal_keys(configure, text, on):
    configure(text)
    assert gate_use_personal_ssh_default() is on


def test_an_edit_is_seen_by_the_next_config(configure):
    path = configure("credentials: {use_keyring: false} # mine\n")
    assert SandboxConfig().credentials_use_keyring is False
    yaml_update_section(path, "credentials", {"use_keyring": True})
    assert SandboxConfig().credentials_use_keyring is True
    assert path.read_text() == "credentials: {use_keyring: true} # mine\n"


def test_paths_of_one_config():
    cfg = SandboxConfig(Path("/s"), Path("/r"), Path("/c"), Path("/v"))
    names = {
        "gate_base_path": "/s/gate",
        "clone_cache_base_path": "/s/clone-cache",
        "ssh_keys_dir": "/s/ssh-keys",
        "db_path": "/v/credentials.db",
        "routes_path": "/v/routes.json",
        "vault_systemd_creds_file": "/v/vault.passphrase.cred",
        "vault_recovery_marker_file": "/v/vault.recovery_acknowledged",
        "credential_audit_log_path": "/v/credential_audit.jsonl",
        "vault_socket_path": "/r/vault.sock",
        "vault_pid_path": "/r/vault.pid",
        "vault_passphrase_file": "/r/vault.passphrase",
        "ssh_signer_socket_path": "/r/ssh-agent.sock",
        "token_file_path": "/s/gate/tokens.json",
        "pid_file_path": "/r/gate-server.pid",
        "gate_socket_path": "/r/gate-server.sock",
    }
    assert {name: str(getattr(cfg, name)) for name in names} == names


@pytest.mark.parametrize("scope", ["a", "A.b_c-9", "%host"])
def test_local_signer_socket(scope):
    cfg = SandboxConfig(Path("/s"), Path("/r"))
    assert cfg.ssh_signer_local_socket_path(scope) == Path(f"/r/ssh-agent-local-{scope}.sock")


@pytest.mark.parametrize("scope", ["", ".", "../x", "a/b", "-a", "%", "%Host", "a\n", "a" * 65])
def test_unsafe_scopes(scope):
    from terok_sandbox.vault.store.db import InvalidScopeName

    with pytest.raises(InvalidScopeName):
        SandboxConfig(Path("/s"), Path("/r")).ssh_signer_local_socket_path(scope)


def test_the_vault_gets_every_tier(monkeypatch, tmp_path):
    from terok_sandbox.vault.store import db, encryption

    cfg = SandboxConfig(
        tmp_path, tmp_path, tmp_path, tmp_path, credentials_passphrase="p", credentials_use_keyring=True,
        credentials_passphrase_command="c",
    )  # fmt: skip
    tiers = {
        "passphrase_file": tmp_path / "vault.passphrase",
        "systemd_creds_file": tmp_path / "vault.passphrase.cred",
        "use_keyring": True,
        "passphrase_command": "c",
        "config_fallback": "p",
        "prompt_on_tty": True,
    }
    monkeypatch.setattr(db, "open_credential_db", lambda path, **kw: (path, kw))
    monkeypatch.setattr(db, "open_credential_db_with_source", lambda path, **kw: (path, kw))
    monkeypatch.setattr(encryption, "resolve_passphrase_with_source", lambda **kw: (kw, "config"))
    assert cfg.open_credential_db(prompt_on_tty=True) == (tmp_path / "credentials.db", tiers)
    assert cfg.open_credential_db_with_source(Path("/x"), prompt_on_tty=True) == (Path("/x"), tiers)
    assert cfg.resolve_passphrase(prompt_on_tty=True) == tiers
    assert cfg.resolve_passphrase_with_source(prompt_on_tty=True) == (tiers, "config")


def test_a_passphrase_comes_from_the_file_for_this_session(tmp_path):
    cfg = SandboxConfig(tmp_path, tmp_path, tmp_path, tmp_path, credentials_passphrase="lower")
    assert cfg.resolve_passphrase_with_source() == ("lower", "config")
    cfg.vault_passphrase_file.write_text("upper\n")
    assert cfg.resolve_passphrase_with_source() == ("upper", "session-file")


def test_variables(home, monkeypatch):
    monkeypatch.setenv("TEROK_ROOT", "/x")
    assert (paths.state_root(), paths.vault_root()) == (Path("/x/sandbox"), Path("/x/vault"))
    assert paths.runtime_root() == home / ".local/state/terok/sandbox"
    monkeypatch.setenv("TEROK_SANDBOX_STATE_DIR", "~/s")
    monkeypatch.setenv("TEROK_SANDBOX_RUNTIME_DIR", "/r")
    monkeypatch.setenv("TEROK_SANDBOX_CONFIG_DIR", "/c")
    monkeypatch.setenv("TEROK_CONFIG_DIR", "/n")
    found = (paths.state_root(), paths.runtime_root(), paths.config_root(), paths.namespace_config_root())
    assert found == (home / "s", Path("/r"), Path("/c"), Path("/n"))
    assert SandboxConfig().shield_profiles_dir == Path("/n/shield/profiles")


def test_the_vault_directory(home, monkeypatch, capfd):
    old = home / ".local/share/terok/credentials"
    old.mkdir(parents=True)
    assert paths.vault_root() == old.with_name("vault")
    assert "terok-migrate-vault" in capfd.readouterr().err
    old.with_name("vault").mkdir()
    monkeypatch.setenv("TEROK_CREDENTIALS_DIR", "/old")
    assert paths.vault_root() == Path("/old") and "TEROK_VAULT_DIR" in capfd.readouterr().err
    monkeypatch.setenv("TEROK_VAULT_DIR", "/new")
    assert paths.vault_root() == Path("/new") and capfd.readouterr().err == ""


def test_the_port_directory(home, configure, monkeypatch):
    assert paths.port_registry_dir() == Path("/tmp/terok-ports")
    configure("paths: {port_registry_dir: ~/ports}\n")
    assert paths.port_registry_dir() == home / "ports"
    monkeypatch.setenv("TEROK_PORT_REGISTRY_DIR", "/p")
    assert paths.port_registry_dir() == Path("/p")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", False),
        ("credentials: {passphrase: x}", True),
        ("credentials: {passphrase: ''}", False),
        ("credentials: x", False),
        ("credentials: [", False),
    ],
)
def test_where_the_plain_passphrase_is(configure, text, found):
    path = configure(text)
    assert paths.plaintext_passphrase_config_path() == (path if found else None)


def test_ports_are_resolved_once_and_recorded(tmp_path, monkeypatch):
    from terok_sandbox import port_registry

    (tmp_path / "state").mkdir()
    monkeypatch.setattr(port_registry, "_default", port_registry.PortRegistry(tmp_path / "ports", range(43000, 43020)))
    cfg = SandboxConfig(tmp_path / "state", services_mode="tcp", gate_port=43011)
    found = cfg.with_resolved_ports()
    assert found.gate_port == 43011 and len({found.gate_port, found.token_broker_port, found.ssh_signer_port}) == 3
    assert (tmp_path / "state/port-claims.json").exists()
    assert cfg.with_resolved_ports() == found
    socket = dataclasses.replace(cfg, services_mode="socket")
    assert socket.with_resolved_ports() is socket


def test_readers_can_be_replaced(monkeypatch):
    monkeypatch.setattr(config, "services_mode", lambda: "tcp")
    assert SandboxConfig().services_mode == "tcp"
    assert os.environ.get("TEROK_CONFIG_FILE") is None
