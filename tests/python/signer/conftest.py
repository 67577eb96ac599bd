"""Fixtures of the signer's tests: a vault of its own, opened by a session passphrase."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "supervisor"), str(HERE.parents[1] / "host")]

from lane import pytest_terminal_summary  # noqa: E402, F401
from openssh_site import MISSING, SSHD, Key, ecdsa, ed25519, rsa  # noqa: E402
from supervised_site import program  # noqa: E402, F401


@dataclass
class Vault:
    """An open vault, and where it lies."""

    db: Any
    path: Path
    folder: Path


@pytest.fixture(autouse=True)
def _programs() -> None:
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")


@pytest.fixture
def sshd_installed() -> None:
    if SSHD is None:
        pytest.skip("sshd is not installed")


@pytest.fixture(scope="session")
def keys() -> list[Key]:
    """One key of each kind; no test changes them."""
    return [ed25519(), rsa(), ecdsa()]


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A vault that opens by itself; nothing of the user's own is read."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("TEROK_ROOT", "TEROK_VAULT_DIR", "TEROK_CREDENTIALS_DIR", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "home").mkdir()
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    (runtime / "vault.passphrase").write_text("pw\n")
    monkeypatch.setenv("TEROK_SANDBOX_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(tmp_path / "config.yml"))
    from terok_sandbox.vault.store.db import CredentialDB

    path = tmp_path / "vault" / "credentials.db"
    db = CredentialDB(path, passphrase="pw")
    yield Vault(db, path, tmp_path)
    db.close()
