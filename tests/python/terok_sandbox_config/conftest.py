"""A home of its own for every test; configuration caches start empty."""

import pytest
from fixtures.account import settled, writer
from terok_util import paths


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_is_root", lambda: False)
    # The decision about root is replaced for paths; the file is named so that the real one does not matter either.
    return settled(tmp_path, monkeypatch, TEROK_CONFIG_FILE=".config/terok/config.yml")


@pytest.fixture
def configure(home):
    return writer(home / ".config/terok/config.yml")
