"""Assembly of environment and volumes, with a real vault and without one."""

import dataclasses
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from terok_executor import storage
from terok_executor.container.cache import seed_workspace_from_clone_cache
from terok_executor.container.env import ContainerEnvSpec, assemble_container_env
from terok_executor.credentials import auth, vault_config
from terok_executor.credentials.leaks import remove_leaked_credentials
from terok_executor.credentials.vault_commands import scan_leaked_credentials
from terok_executor.roster import load_roster, loader
from terok_sandbox import PerContainerResources, SandboxConfig, VolumeSpec

SOCKET = "/run/terok/vault.sock"


@pytest.fixture(autouse=True)
def private_host(tmp_path, monkeypatch):
    """Every directory of the product below *tmp_path*, no user roster, no locked-up passphrase."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("TEROK_ROOT", str(tmp_path / "state"))
    monkeypatch.setenv("TEROK_SANDBOX_LIVE_DIR", str(tmp_path / "live"))
    monkeypatch.setenv("TZ", "Europe/Prague")
    config = tmp_path / "config.yml"
    config.write_text("credentials:\n  passphrase: test-passphrase\n")
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(config))
    monkeypatch.setattr(loader, "_user_agents_dir", lambda: tmp_path / "none")
    from terok_util import paths

    paths._config_section_cache.clear()
    yield
    monkeypatch.undo()
    paths._config_section_cache.clear()


def spec(tmp_path: Path, **fields) -> ContainerEnvSpec:
    base = ContainerEnvSpec("t1", "claude", tmp_path / "w", envs_dir=tmp_path / "m", task_dir=tmp_path)
    return dataclasses.replace(base, **fields)


def test_tokens_are_minted_for_what_is_stored(tmp_path, capsys):
    auth.store_api_key("claude", "sk-ant-real")
    auth.store_api_key("codex", "sk-real")
    assert "sk-" not in capsys.readouterr().out
    extra = VolumeSpec(tmp_path, "/extra")
    result = assemble_container_env(spec(tmp_path, extra_volumes=(extra,)), load_roster())
    token = result.env["ANTHROPIC_API_KEY"]
    assert re.fullmatch(r"terok-p-[0-9a-f]{32}", token) and token != result.env["OPENAI_API_KEY"]
    assert result.env["ANTHROPIC_UNIX_SOCKET"] == SOCKET and result.env["TZ"] == "Europe/Prague"
    assert "MISTRAL_API_KEY" not in result.env and "real" not in str(result)
    assert result.volumes[0] == VolumeSpec(tmp_path / "w", "/workspace", "private") and result.volumes[-1] is extra
    db = SandboxConfig().open_credential_db()
    try:
        row = db.lookup_token(token)
        assert row == {"scope": "standalone", "subject": "t1", "credential_set": "default", "provider": "claude"}
    finally:
        db.close()
    assert "/v1" in (tmp_path / "m" / "_codex-config" / "config.toml").read_text()


# improves: 21-2.5-relaunch-revokes
def test_a_new_container_of_a_task_ends_the_tokens_of_the_one_before(tmp_path):
    auth.store_api_key("claude", "sk-ant-real")
    first, other, second = (
        assemble_container_env(spec(tmp_path, task_id=task), load_roster()).env["ANTHROPIC_API_KEY"]
        for task in ("t1", "t2", "t1")
    )
    db = SandboxConfig().open_credential_db()
    try:
        assert db.lookup_token(first) is None
        assert db.lookup_token(other)["subject"] == "t2" and db.lookup_token(second)["subject"] == "t1"
    finally:
        db.close()


def test_callers_that_manage_the_vault_get_no_token(tmp_path):
    auth.store_api_key("claude", "sk-ant-real")
    env = assemble_container_env(spec(tmp_path), load_roster(), caller_manages_vault=True).env
    assert not {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "TEROK_VAULT_LOOPBACK_PORT"} & set(env)


def test_tcp_addresses_are_those_of_the_container(tmp_path):
    auth.store_api_key("claude", "sk-ant-real")
    auth.store_api_key("glab", "glpat-real")
    own = PerContainerResources(tmp_path, 18731, 18732, 18733)
    env = assemble_container_env(spec(tmp_path), load_roster(), per_container=own).env
    assert env["ANTHROPIC_UNIX_SOCKET"] == "/tmp/terok-vault.sock"
    assert (env["TEROK_TOKEN_BROKER_PORT"], env["GITLAB_API_HOST"]) == ("18731", "host.containers.internal:18731")


def test_a_vault_that_does_not_open(tmp_path, monkeypatch, capsys):
    def locked(_self, *_args, **_kwargs):
        raise RuntimeError("locked\nsecond line")

    monkeypatch.setattr(SandboxConfig, "open_credential_db", locked)
    env = assemble_container_env(spec(tmp_path), load_roster()).env
    assert "ANTHROPIC_API_KEY" not in env and env["TASK_ID"] == "t1"
    assert "RuntimeError: locked" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="RuntimeError: locked"):
        assemble_container_env(spec(tmp_path, vault_required=True), load_roster())


def test_known_images_get_only_their_mounts(tmp_path):
    volumes = assemble_container_env(spec(tmp_path, installed=frozenset({"claude"})), load_roster()).volumes
    assert [v.container_path for v in volumes] == ["/workspace", "/home/dev/.claude", "/home/dev/.claude/.credentials.json"]
    assert [v.read_only for v in volumes] == [False, False, True]


# holds: agent-folder-per-container
def test_each_task_gets_copies_of_its_own(tmp_path):
    shared = tmp_path / "m" / "_claude-config"
    (shared / "projects" / "p").mkdir(parents=True)
    (shared / "projects" / "p" / "s.jsonl").write_text("transcript of an earlier version")
    (shared / "settings.json").write_text('{"model": "mine"}')
    first, second = (
        assemble_container_env(
            spec(tmp_path, task_id=task, task_dir=tmp_path / task, installed=frozenset({"claude"})), load_roster()
        )
        for task in ("t1", "t2")
    )
    for result, task in ((first, "t1"), (second, "t2")):
        home = tmp_path / task / "agent-home"
        assert result.context.home_dir == home and home.stat().st_mode & 0o777 == 0o700
        assert result.volumes[1].host_path == home / "_claude-config"
        assert result.volumes[2] == VolumeSpec(shared / ".credentials.json", "/home/dev/.claude/.credentials.json", "shared", True)
        assert json.loads((home / "_claude-config" / "settings.json").read_text())["model"] == "mine"
        assert not (home / "_claude-config" / "projects").exists()
    planted = tmp_path / "t1" / "agent-home" / "_claude-config" / "settings.json"
    planted.write_text('{"hooks": {"SessionStart": []}}')
    assemble_container_env(spec(tmp_path, task_id="t3", task_dir=tmp_path / "t3"), load_roster())
    assert "hooks" not in (tmp_path / "t3" / "agent-home" / "_claude-config" / "settings.json").read_text()
    # The task's own copy goes on.
    assemble_container_env(spec(tmp_path, task_id="t1", task_dir=tmp_path / "t1"), load_roster())
    assert "hooks" in planted.read_text()


def test_login_of_an_exposed_provider_flows_back_and_no_other(tmp_path):
    (tmp_path / "m" / "_claude-config").mkdir(parents=True)
    login = tmp_path / "m" / "_claude-config" / ".credentials.json"
    login.write_text('{"claudeAiOauth": {"accessToken": "old"}}')
    copy = tmp_path / "agent-home" / "_claude-config" / ".credentials.json"
    for exposed, expected in ((frozenset(), "old"), (frozenset({"claude"}), "new")):
        for _relaunch in range(2):
            fields = {"expose_credential_providers": exposed, "installed": frozenset({"claude"})}
            assemble_container_env(spec(tmp_path, **fields), load_roster())
            copy.write_text('{"claudeAiOauth": {"accessToken": "new"}, "mcpOAuth": {"x": "y"}}')
        assemble_container_env(spec(tmp_path, **fields), load_roster())
        assert json.loads(login.read_text()) == {"claudeAiOauth": {"accessToken": expected}}


def test_failed_assembly_leaves_no_directory(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    with pytest.raises(SystemExit):
        assemble_container_env(spec(tmp_path, task_dir=None, shared_dir=Path(__file__)), load_roster())
    assert list((tmp_path / "temp").iterdir()) == []


def test_bad_arguments_and_planted_links(tmp_path):
    for fields, text in [
        ({"shared_dir": tmp_path / "s", "shared_mount": "x"}, "absolute path"),
        ({"shared_dir": Path(__file__)}, "exists as a file"),
    ]:
        with pytest.raises(SystemExit, match=text):
            assemble_container_env(spec(tmp_path, **fields), load_roster())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "_claude-config").symlink_to(tmp_path)
    with pytest.raises(SystemExit, match="_claude-config"):
        assemble_container_env(spec(tmp_path), load_roster())


def test_a_damaged_settings_file_is_kept_and_begun_anew(tmp_path, capsys):
    settings = tmp_path / "m" / "_codex-config" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("a = [")
    assemble_container_env(spec(tmp_path), load_roster())
    assert settings.with_name("config.toml.terok-bak").read_text() == "a = ["
    tomllib.loads(settings.read_text())
    assert str(settings) in capsys.readouterr().err


def test_a_settings_file_that_is_none_stops_the_launch(tmp_path):
    (tmp_path / "m" / "_codex-config" / "config.toml").mkdir(parents=True)
    with pytest.raises(vault_config.ConfigPatchError, match="Failed to apply"):
        assemble_container_env(spec(tmp_path), load_roster())
    assert issubclass(vault_config.ConfigPatchError, RuntimeError)


def test_patches_on_their_own(tmp_path, capsys):
    vault_config.write_vault_config("claude")
    assert capsys.readouterr().out == ""
    vault_config.write_vault_config("gh")
    target = tmp_path / "live" / "mounts" / "_gh-config" / "config.yml"
    assert str(target) in capsys.readouterr().out and SOCKET in target.read_text()
    vault_config.apply_shared_config_patches(
        load_roster(), tmp_path / "live" / "mounts", providers=(), disabled_providers={"gh"}
    )
    assert target.read_text() == ""


def test_leaks(tmp_path):
    (tmp_path / "_vibe-config").mkdir()
    leak = tmp_path / "_vibe-config" / ".env"
    leak.write_text("KEY=1")
    assert scan_leaked_credentials(tmp_path) == [("vibe", leak)]
    assert remove_leaked_credentials(tmp_path) == [("vibe", leak)] and not leak.exists()
    assert scan_leaked_credentials(tmp_path / "none") == []


def test_storage(tmp_path):
    (tmp_path / "tasks" / "t1" / "workspace-dangerous").mkdir(parents=True)
    (tmp_path / "tasks" / "t1" / "workspace-dangerous" / "f").write_bytes(bytes(150))
    assert storage.TaskStorageInfo.measure_all(tmp_path / "tasks") == [storage.TaskStorageInfo("t1", 150, 0)]
    assert storage.TaskStorageInfo.measure_all(tmp_path / "none") == []
    (tmp_path / "m" / "_mystery-tool").mkdir(parents=True)
    (tmp_path / "m" / "_claude-config").mkdir()
    found = storage.SharedMountStorageInfo.measure_all(tmp_path / "m")
    assert [(info.name, info.label) for info in found] == [
        ("_claude-config", "Claude config"),
        ("_mystery-tool", "Mystery tool"),
    ]


def test_seeding_refuses_scopes_that_leave_the_cache(tmp_path):
    class Config:
        clone_cache_base_path = tmp_path

    assert not seed_workspace_from_clone_cache(tmp_path / "w", "../x", cfg=Config())
    assert not seed_workspace_from_clone_cache(tmp_path / "w", "x", cfg=Config())


# holds: git-environment-is-ours
def test_seeding_ignores_the_git_variables_of_its_caller(tmp_path, monkeypatch):
    """A program that runs in a git hook has ``GIT_DIR`` set: its repository keeps its origin."""
    git = ["git", "-c", "user.name=n", "-c", "user.email=e"]
    for name in ("theirs", "cache/scope"):
        subprocess.run([*git, "init", "-q", tmp_path / name], check=True)
        subprocess.run([*git, "-C", tmp_path / name, "remote", "add", "origin", "https://h/old"], check=True)
    workspace = tmp_path / "task/workspace"
    workspace.mkdir(parents=True)

    class Config:
        clone_cache_base_path = tmp_path / "cache"

    monkeypatch.setenv("GIT_DIR", str(tmp_path / "theirs/.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "theirs"))
    assert seed_workspace_from_clone_cache(workspace, "scope", origin_url="http://gate/new", cfg=Config())
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_WORK_TREE")
    ask = [["git", "-C", folder, "remote", "get-url", "origin"] for folder in (tmp_path / "theirs", workspace)]
    assert [subprocess.check_output(words, text=True).strip() for words in ask] == ["https://h/old", "http://gate/new"]
