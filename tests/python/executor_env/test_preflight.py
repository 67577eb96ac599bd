"""The checks in front of a run that ask the vault, and their repairs."""

from __future__ import annotations

import pytest
from terok_executor.credentials import auth
from terok_executor.preflight import Preflight
from terok_sandbox import SandboxConfig
from test_env import private_host  # noqa: F401


@pytest.fixture
def cfg(private_host: None) -> SandboxConfig:  # noqa: F811
    return SandboxConfig()


def keys(cfg: SandboxConfig, scope: str) -> list[str]:
    db = cfg.open_credential_db()
    try:
        return [row.fingerprint for row in db.list_ssh_keys_for_scope(scope)]
    finally:
        db.close()


def test_the_ssh_key(cfg: SandboxConfig, capsys: pytest.CaptureFixture[str]) -> None:
    flight = Preflight(provider="claude", cfg=cfg, assume_yes=True)
    missing = flight.check_ssh_key()
    assert not missing.ok and "does not exist" in missing.message and not cfg.db_path.exists()
    auth.store_api_key("claude", "sk-real")
    missing = flight.check_ssh_key()
    assert (missing.name, missing.ok) == ("ssh key", False) and "ssh add standalone" in missing.message
    assert flight._settle(flight.check_ssh_key, flight._fix_ssh_key)
    out = capsys.readouterr().out
    (made,) = keys(cfg, "standalone")
    assert "ssh-ed25519 " in out and flight.check_ssh_key().message == made
    assert not flight.check_ssh_key("other").ok and keys(cfg, "other") == []


def test_what_is_not_wanted_is_not_repaired(cfg: SandboxConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    auth.store_api_key("claude", "sk-real")
    quiet = Preflight(provider="claude", cfg=cfg, interactive=False)
    assert not quiet._settle(quiet.check_ssh_key, quiet._fix_ssh_key)
    asking = Preflight(provider="claude", cfg=cfg)
    monkeypatch.setattr("builtins.input", lambda _text: "n")
    assert not asking._settle(asking.check_ssh_key, asking._fix_ssh_key)
    assert keys(cfg, "standalone") == []


def test_a_vault_that_cannot_be_asked_is_an_answer(cfg: SandboxConfig) -> None:
    auth.store_api_key("claude", "sk-real")
    flight = Preflight(provider="claude", cfg=cfg)
    assert flight.check_credentials().ok and not Preflight(provider="codex", cfg=cfg).check_credentials().ok
    cfg.db_path.write_bytes(b"\x07" * 5000)
    for result in (flight.check_ssh_key(), flight.check_credentials()):
        assert not result.ok and "unavailable" in result.message and "\n" not in result.message
    assert not flight._settle(flight.check_ssh_key, None) and flight._fix_ssh_key() is False
