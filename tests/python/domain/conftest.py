"""The account that the tests of this folder work in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from domain_house import House
from fixtures.podman.double import first_on_path


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    for name in [name for name in os.environ if name.startswith(("TEROK_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name, folder in (
        ("HOME", "home"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_RUNTIME_DIR", "run"),
    ):
        (tmp_path / folder).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("TEROK_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("TEROK_CONFIG_DIR", str(tmp_path / "config/terok"))
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(tmp_path / "config/terok/config.yml"))
    monkeypatch.setenv("TEROK_VAULT_DIR", str(tmp_path / "state/vault"))
    monkeypatch.setenv("TEROK_SANDBOX_STATE_DIR", str(tmp_path / "state/sandbox"))
    return House(tmp_path, first_on_path(tmp_path / "fake", monkeypatch))
