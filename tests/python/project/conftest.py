"""A home of its own for every test, with nothing configured."""

import pytest
from fixtures.account import settled, writer


@pytest.fixture
def home(tmp_path, monkeypatch):
    return settled(
        tmp_path, monkeypatch, TEROK_ROOT="state", TEROK_CONFIG_DIR="system",
        TEROK_CONFIG_FILE=".config/terok/config.yml", GIT_CONFIG_GLOBAL="gitconfig",
    )  # fmt: skip


@pytest.fixture
def configure(home):
    return writer(home / ".config/terok/config.yml")


@pytest.fixture
def project(home):
    """Write the ``project.yml`` of a project of the user; returns its path."""

    def write(name, text=""):
        path = home / f".config/terok/projects/{name}/project.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
