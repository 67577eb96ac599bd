"""A home of its own for every test, where nobody is root; configuration is read afresh."""

import sys

import pytest
from fixtures.account import settled, writer
from terok.lib.core import config
from terok_util import paths


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_is_root", lambda: False)
    monkeypatch.setattr(config, "_experimental", False)
    return settled(tmp_path, monkeypatch)


@pytest.fixture
def configure(home):
    """Write the user's ``config.yml``."""
    return writer(home / ".config/terok/config.yml")


@pytest.fixture
def prefix(home, monkeypatch):
    """Write the ``config.yml`` of the Python installation, a layer below the user's."""
    monkeypatch.setattr(sys, "prefix", str(home / "python"))
    return writer(home / "python/etc/terok/config.yml")
