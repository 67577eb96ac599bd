"""A home of its own for every test, with nothing configured."""

import pytest

GONE = ("TEROK_ROOT", "TEROK_STATE_DIR", "TEROK_SANDBOX_LIVE_DIR", "TEROK_SANDBOX_STATE_DIR", "TEROK_RUNTIME",
        "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "EDITOR", "VISUAL")  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in GONE:
        monkeypatch.delenv(name, raising=False)
    for name, below in {
        "HOME": ".",
        "TEROK_ROOT": "state",
        "TEROK_CONFIG_DIR": "system",
        "TEROK_CONFIG_FILE": ".config/terok/config.yml",
        "GIT_CONFIG_GLOBAL": "gitconfig",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / below))
    from terok.lib.core import config

    config._validated_config_cache = config._raw_config_cache = None
    return tmp_path


@pytest.fixture
def configure(home):
    def write(text):
        path = home / ".config/terok/config.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


@pytest.fixture
def project(home):
    """Write the ``project.yml`` of a project of the user; returns its path."""

    def write(name, text=""):
        path = home / f".config/terok/projects/{name}/project.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
