"""The account that the tests of this folder work in."""

from __future__ import annotations

from pathlib import Path

import pytest
from domain_house import House
from fixtures.account import settled
from fixtures.podman.double import first_on_path


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    settled(
        tmp_path, monkeypatch, HOME="home", XDG_CONFIG_HOME="config", XDG_DATA_HOME="data", XDG_RUNTIME_DIR="run",
        TEROK_ROOT="state", TEROK_CONFIG_DIR="config/terok", TEROK_CONFIG_FILE="config/terok/config.yml",
        TEROK_VAULT_DIR="state/vault", TEROK_SANDBOX_STATE_DIR="state/sandbox",
    )  # fmt: skip
    for folder in ("home", "data", "run"):
        (tmp_path / folder).mkdir(mode=0o700)
    return House(tmp_path, first_on_path(tmp_path / "fake", monkeypatch))
