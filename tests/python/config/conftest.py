"""A home of its own for every test, where nobody is root; configuration is read afresh."""

import sys

import pytest
from terok.lib.core import config
from terok_util import paths

VARIABLES = (
    "TEROK_ROOT", "TEROK_CONFIG_FILE", "TEROK_CONFIG_DIR", "TEROK_STATE_DIR", "TEROK_RUNTIME_DIR", "TEROK_VAULT_DIR",
    "TEROK_CREDENTIALS_DIR", "TEROK_SANDBOX_LIVE_DIR", "TEROK_SANDBOX_STATE_DIR", "TEROK_SANDBOX_RUNTIME_DIR",
    "TEROK_PREFIX", "TEROK_PUBLIC_HOST", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
    "NO_COLOR", "FORCE_COLOR", "EDITOR",
)  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(paths, "_is_root", lambda: False)
    monkeypatch.setattr(config, "_validated_config_cache", None)
    monkeypatch.setattr(config, "_raw_config_cache", None)
    monkeypatch.setattr(config, "_experimental", False)
    return tmp_path


@pytest.fixture
def configure(home):
    """Write the user's ``config.yml``."""

    def write(text):
        path = home / ".config/terok/config.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def prefix(home, monkeypatch):
    """Write the ``config.yml`` of the Python installation, a layer below the user's."""
    monkeypatch.setattr(sys, "prefix", str(home / "python"))

    def write(text):
        path = home / "python/etc/terok/config.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
