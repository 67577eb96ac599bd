"""Directories of the family and the readers of ``config.yml``."""

import subprocess
import sys
from pathlib import Path

import pytest
import terok_util
from terok_util import paths


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in (
        "TEROK_ROOT", "TEROK_CONFIG_FILE", "TEROK_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
        "XDG_RUNTIME_DIR",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(paths, "_is_root", lambda: False)
    paths._reset_config_caches_for_tests()
    return tmp_path


def configure(home, text):
    path = home / ".config/terok/config.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_defaults(home, monkeypatch):
    assert paths.namespace_state_dir("sandbox") == home / ".local/share/terok/sandbox"
    assert paths.namespace_config_dir() == home / ".config/terok"
    assert paths.namespace_runtime_dir("x") == home / ".local/state/terok/x"
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert paths.namespace_runtime_dir() == Path("/s/terok")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/r")
    assert paths.namespace_runtime_dir() == Path("/r/terok")
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    assert paths.namespace_state_dir() == Path("/d/terok")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert paths.namespace_config_dir("a/b") == Path("/c/terok/a/b")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert paths.namespace_config_dir() == home / ".config/terok", "relative XDG directories do not count"


def test_root(home, monkeypatch):
    monkeypatch.setattr(paths, "_is_root", lambda: True)
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    assert paths.namespace_state_dir("sandbox") == Path("/var/lib/terok/sandbox")
    assert paths.namespace_config_dir("sandbox") == Path("/etc/terok/sandbox")
    assert paths.namespace_runtime_dir() == Path("/run/terok")
    assert paths.config_file_paths() == [("system", Path("/etc/terok/config.yml"))]


def test_order_of_the_state_directory(home, monkeypatch):
    configure(home, "paths: {root: ~/elsewhere/../there}\n")
    assert paths.namespace_state_dir("vault") == home / "there/vault"
    assert paths.namespace_runtime_dir() == home / ".local/state/terok", "sockets do not move"
    monkeypatch.setenv("TEROK_ROOT", "~/x")
    assert paths.namespace_state_dir("vault") == home / "x/vault"
    monkeypatch.setenv("MY_DIR", "~/own")
    assert paths.namespace_state_dir("vault", env_var="MY_DIR") == home / "own"
    monkeypatch.setenv("MY_DIR", "")
    assert paths.namespace_state_dir("vault", env_var="MY_DIR") == home / "x/vault"


@pytest.mark.parametrize("bad", ["../x", "/x", "a/../../b"])
@pytest.mark.parametrize(
    "resolve", [paths.namespace_state_dir, paths.namespace_config_dir, paths.namespace_runtime_dir]
)
def test_unsafe_subdirectories(home, resolve, bad):
    with pytest.raises(ValueError, match="unsafe"):
        resolve(bad)


def test_nothing_is_created(home):
    for resolve in (paths.namespace_state_dir, paths.namespace_config_dir, paths.namespace_runtime_dir):
        resolve("x")
    paths.read_config_section("paths")
    assert list(home.iterdir()) == []


def test_config_files(home, monkeypatch):
    user = home / ".config/terok/config.yml"
    assert paths.config_file_paths() == [("system", Path("/etc/terok/config.yml")), ("user", user)]
    monkeypatch.setenv("TEROK_CONFIG_FILE", "~/my.yml")
    assert paths.config_file_paths() == [("override", home / "my.yml")]


def test_sections_are_texts_and_top_level_is_typed(home):
    configure(home, "s: {a: true, b: null, c: 1.5, d: [1], e: text}\nt: 5\nn: null\n")
    assert terok_util.read_config_section("s") == {"a": "True", "c": "1.5", "d": "[1]", "e": "text"}
    assert (paths.read_config_section("t"), paths.read_config_section("none")) == ({}, {})
    assert (paths.read_config_top_level("t"), paths.read_config_top_level("n")) == (5, None)
    assert paths.read_config_top_level("s") == {"a": True, "b": None, "c": 1.5, "d": [1], "e": "text"}


def test_an_edit_is_seen_without_a_restart(home):
    path = configure(home, "s: {a: 1}\n")
    assert paths.read_config_section("s") == {"a": "1"}
    path.write_text("s: {a: 22}\n")
    assert paths.read_config_section("s") == {"a": "22"}
    path.unlink()
    assert paths.read_config_section("s") == {}


def test_a_broken_file_is_reported_once(home, capfd):
    configure(home, "a: 1\ns: {b: hunter2\n")
    for _ in range(3):
        assert paths.read_config_section("s") == {}
        assert paths.read_config_top_level("a") is None
    said = capfd.readouterr().err
    assert said.count("config.yml") == 1 and "line" in said and "hunter2" not in said
    paths._config_section_cache.clear()
    paths.read_config_section("s")
    assert "config.yml" in capfd.readouterr().err, "clearing the cache starts afresh"


def test_importing_is_light():
    program = (
        "import sys; before = set(sys.modules)\n"
        "import terok_util, terok_sandbox\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "['terok_sandbox', 'terok_util', 'terok_util.lazy']"


def test_every_public_name():
    for name in terok_util.__all__:
        assert getattr(terok_util, name) is not None and name in dir(terok_util)
    assert len(terok_util.__all__) == 18
    assert terok_util.paths is paths
    with pytest.raises(AttributeError):
        _ = terok_util.nonsense
