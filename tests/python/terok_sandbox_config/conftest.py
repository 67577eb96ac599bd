"""A home of its own for every test; configuration caches start empty."""

import pytest
from terok_util import paths

VARIABLES = (
    "TEROK_ROOT", "TEROK_CONFIG_FILE", "TEROK_CONFIG_DIR", "TEROK_SANDBOX_CONFIG_DIR", "TEROK_SANDBOX_STATE_DIR",
    "TEROK_SANDBOX_RUNTIME_DIR", "TEROK_VAULT_DIR", "TEROK_CREDENTIALS_DIR", "TEROK_PORT_REGISTRY_DIR",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
)  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(paths, "_is_root", lambda: False)
    # The decision about root is replaced for paths; the file is named so that the real one does not matter either.
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(tmp_path / ".config/terok/config.yml"))
    paths._reset_config_caches_for_tests()
    return tmp_path


@pytest.fixture
def configure(home):
    def write(text):
        path = home / ".config/terok/config.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
