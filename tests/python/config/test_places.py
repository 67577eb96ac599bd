"""Directories: environment, configuration, default; nothing is created."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from terok.lib.core import config, paths
from terok_util import paths as family

DEFAULTS = {
    "projects_dir": ".config/terok/projects",
    "user_projects_dir": ".config/terok/projects",
    "user_presets_dir": ".config/terok/core/presets",
    "sandbox_live_dir": ".local/share/terok/sandbox-live",
    "sandbox_live_mounts_dir": ".local/share/terok/sandbox-live/mounts",
    "gate_repos_dir": ".local/share/terok/sandbox/gate",
    "build_dir": ".local/share/terok/core/build",
    "archive_dir": ".local/share/terok/archive",
    "vault_dir": ".local/share/terok/vault",
}
OWN = {
    "config_root": ".config/terok",
    "state_root": ".local/share/terok",
    "core_state_dir": ".local/share/terok/core",
    "vault_root": ".local/share/terok/vault",
    "runtime_root": ".cache/terok",
    "runtime_dir": ".local/state/terok",
}


def test_defaults(home):
    assert {name: getattr(config, name)() for name in DEFAULTS} == {k: home / v for k, v in DEFAULTS.items()}
    assert {name: getattr(paths, name)() for name in OWN} == {k: home / v for k, v in OWN.items()}
    assert config.bundled_presets_dir() == Path(config.__file__).parents[2] / "resources/presets"
    assert paths.APP_NAME == "terok" and not any(home.iterdir())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("user_projects_dir", "paths.user_projects_dir"),
        ("user_presets_dir", "paths.user_presets_dir"),
        ("sandbox_live_dir", "paths.sandbox_live_dir"),
        ("build_dir", "paths.build_dir"),
        ("gate_repos_dir", "gate_server.repos_dir"),
        ("vault_dir", "credentials.dir"),
    ],
)
def test_configured(name, key, configure, home, monkeypatch):
    section, member = key.split(".")
    function = getattr(config, name)
    for value, found in [("~/a/../b", home / "b"), ("/abs/x", Path("/abs/x")), ("''", home / DEFAULTS[name])]:
        configure(f"{section}: {{{member}: {value}}}\n")
        assert function() == found
    configure(f"{section}: {{{member}: rel}}\n")
    monkeypatch.chdir(home)
    assert function() == home / "rel"
    for value in ("[1]", "5", "null"):
        configure(f"{section}: {{{member}: {value}}}\n")
        assert function() == home / DEFAULTS[name]


def test_a_misspelt_key_moves_nothing(configure, home):
    configure("paths: {build_dir: /b, user_projects_dir: /p, root: /r, typo: 1}\ncredentials: {dir: /v, typo: 1}\n")
    assert [str(f()) for f in (config.build_dir, config.user_projects_dir, config.vault_dir, paths.state_root)] == [
        "/b", "/p", "/v", "/r",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("variable", "function", "below"),
    [
        ("TEROK_ROOT", paths.state_root, ""),
        ("TEROK_ROOT", paths.core_state_dir, "core"),
        ("TEROK_ROOT", config.archive_dir, "archive"),
        ("TEROK_ROOT", config.vault_dir, "vault"),
        ("TEROK_STATE_DIR", paths.core_state_dir, ""),
        ("TEROK_STATE_DIR", config.build_dir, "build"),
        ("TEROK_VAULT_DIR", config.vault_dir, ""),
        ("TEROK_VAULT_DIR", paths.vault_root, ""),
        ("TEROK_RUNTIME_DIR", paths.runtime_root, ""),
        ("TEROK_CONFIG_DIR", paths.config_root, ""),
        ("TEROK_CONFIG_DIR", config.projects_dir, "projects"),
        ("TEROK_SANDBOX_LIVE_DIR", config.sandbox_live_mounts_dir, "mounts"),
        ("TEROK_SANDBOX_STATE_DIR", config.gate_repos_dir, "gate"),
    ],
)
def test_variables_win(variable, function, below, configure, home, monkeypatch):
    configure("paths: {root: /other, build_dir: '', sandbox_live_dir: /live}\ncredentials: {dir: /safe}\n")
    usual = function()
    monkeypatch.setenv(variable, "~/mine")
    if (variable, function) == ("TEROK_ROOT", config.vault_dir):
        assert function() == Path("/safe"), "the vault has a key of its own"
    else:
        assert function() == (home / "mine" / below if below else home / "mine")
    monkeypatch.setenv(variable, "")
    assert function() == usual


def test_the_outdated_name_of_the_vault(home, monkeypatch):
    monkeypatch.setenv("TEROK_CREDENTIALS_DIR", "~/old")
    with pytest.warns(DeprecationWarning, match="TEROK_VAULT_DIR"):
        assert config.vault_dir() == home / "old"
    monkeypatch.setenv("TEROK_VAULT_DIR", "~/new")
    assert config.vault_dir() == home / "new"


# improves: 30-4.2-one-vault
def test_there_is_one_vault(configure, home, monkeypatch):
    for text in ("", "paths: {root: ~/r}\n", "credentials: {dir: ~/c}\n"):
        configure(text)
        assert paths.vault_root() == config.vault_dir() == config.make_sandbox_config().vault_dir
    monkeypatch.setattr(family, "_is_root", lambda: True)
    assert paths.vault_root() == config.vault_dir()


# improves: 30-4.1-one-root
def test_everybody_means_the_same_root(home, monkeypatch):
    monkeypatch.setattr(family, "_is_root", lambda: True)
    assert [str(f()) for f in (paths.config_root, paths.state_root, paths.runtime_root, paths.runtime_dir)] == [
        "/etc/terok", "/var/lib/terok", "/run/terok", "/run/terok",
    ]  # fmt: skip
    assert (str(config.projects_dir()), config.user_projects_dir()) == (
        "/etc/terok/projects", home / ".config/terok/projects",
    )  # fmt: skip
    monkeypatch.setattr(family, "_is_root", lambda: False)
    assert paths.config_root() == home / ".config/terok" and paths.state_root() == home / ".local/share/terok"
    inside = "import terok.lib.core.paths as p; print(p.config_root(), p.state_root(), p.runtime_root())"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", inside], capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode == 0 and os.geteuid() != 0:
        assert str(home) in done.stdout and "/etc/terok" not in done.stdout, "root of a user namespace is a user"


def test_links_are_followed(home, configure):
    (home / "real").mkdir()
    (home / "link").symlink_to(home / "real")
    configure(f"paths: {{build_dir: {home}/link/b}}\n")
    assert config.build_dir() == home / "real/b"


def test_prefix(home, monkeypatch):
    assert config.get_prefix() == Path(sys.prefix).resolve()
    monkeypatch.setenv("TEROK_PREFIX", "~/p/../q")
    assert config.get_prefix() == home / "q"


def test_files_of_agent_endpoints(home):
    folder = home / ".local/state/terok/acp/p"
    assert [f("p", "t") for f in (paths.acp_socket_path, paths.acp_bound_path, paths.acp_log_path)] == [
        folder / "t.sock", folder / "t.bound", folder / "t.log",
    ]  # fmt: skip
    for project, task in [("..", "t"), ("p", "../t"), ("", "t"), ("p", "a/b"), ("/p", "t")]:
        with pytest.raises(ValueError, match="unsafe"):
            paths.acp_socket_path(project, task)


def test_native_code_follows_who_is_root(home, monkeypatch):
    from terok_native import _lib

    monkeypatch.setattr(family, "_is_root", lambda: True)
    assert str(_lib.project_place("state_root")) == "/var/lib/terok"
    monkeypatch.undo()
    assert _lib.project_place("config_root") == paths.config_root()
