"""What a project adds to the environment of its tasks: repository, identity, credentials, mounts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from terok.lib.core import config
from terok.lib.core.projects import load_project
from terok.lib.orchestration import environment, tasks

TOKEN = "terok-g-"
UPSTREAM = "https://git.example/team/thing.git"


@pytest.fixture
def gate(pretended):
    """Makes the gate's repository of a project."""

    def make(project: str) -> Path:
        path = load_project(project).gate_path
        subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True)
        return path

    return make


def built(project: str) -> dict[str, str]:
    return environment.build_task_env_and_volumes(load_project(project), tasks.task_new(project))[0]


@pytest.mark.parametrize(
    ("authorship", "author", "committer"),
    [("agent-human", "agent", "human"), ("human-agent", "human", "agent"), ("agent", "agent", "agent"),
     ("human", "human", "human"), ("anything else", "agent", "human")],
)  # fmt: skip
def test_who_is_author_and_who_commits(authorship, author, committer):
    found = environment.resolve_git_identity("agent", "agent@x", "human", "human@x", authorship)
    assert found == {
        "GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": f"{author}@x",
        "GIT_COMMITTER_NAME": committer, "GIT_COMMITTER_EMAIL": f"{committer}@x",
    }  # fmt: skip


def test_the_projects_human_is_in_the_identity(pretended):
    project = load_project(pretended.project(git={"human_name": "Ada", "human_email": "ada@x", "authorship": "human"}))
    env = {"GIT_AUTHOR_NAME": "other"}
    environment.apply_git_identity_env(env, project)
    assert env["GIT_AUTHOR_NAME"] == "Ada" and env["GIT_COMMITTER_EMAIL"] == "ada@x"


def test_behind_the_gate_the_upstream_is_only_named_when_the_project_says_so(pretended, gate):
    section = {"upstream_url": UPSTREAM, "default_branch": "main"}
    project = pretended.project(project={"security_class": "gatekeeping"}, git=section)
    with pytest.raises(SystemExit, match="gate-sync"):
        built(project)
    gate(project)
    env = built(project)
    token = env["TEROK_GATE_TOKEN"]
    assert token.startswith(TOKEN) and env["CODE_REPO"] == f"http://{token}@localhost:9418/{project}.git"
    assert env["GIT_BRANCH"] == "main" and env["TEROK_GATE_SOCKET"] == "/run/terok/gate-server.sock"
    assert not {"EXTERNAL_REMOTE_URL", "GATE_REMOTE_URL", "CLONE_FROM"} & set(env)
    assert built(project)["TEROK_GATE_TOKEN"] != token
    shown = pretended.project(
        "q", project={"security_class": "gatekeeping"}, git=section, gatekeeping={"expose_external_remote": True}
    )
    gate(shown)
    assert built(shown)["EXTERNAL_REMOTE_URL"] == UPSTREAM


def test_online_the_gate_is_a_second_remote(pretended, gate):
    project = pretended.project(git={"upstream_url": UPSTREAM, "default_branch": "dev"})
    env = built(project)
    assert (env["CODE_REPO"], env["GIT_BRANCH"]) == (UPSTREAM, "dev") and "TEROK_GATE_TOKEN" not in env
    gate(project)
    env = built(project)
    assert env["CODE_REPO"] == UPSTREAM and env["CLONE_FROM"] == env["GATE_REMOTE_URL"] != UPSTREAM
    off = pretended.project("q", git={"upstream_url": UPSTREAM}, gate={"enabled": False})
    gate(off)
    assert "GATE_REMOTE_URL" not in built(off)


# improves: 11-3.8-gate-alone
def test_online_without_an_upstream_the_gate_is_the_repository(pretended, gate):
    project = pretended.project()
    assert not {"CODE_REPO", "CLONE_FROM"} & set(built(project))
    gate(project)
    env = built(project)
    assert env["CODE_REPO"] == env["CLONE_FROM"] and env["CODE_REPO"].endswith(f"/{project}.git")


def test_a_gate_elsewhere_is_not_served(pretended):
    elsewhere = pretended.root / "elsewhere.git"
    subprocess.run(["git", "init", "-q", "--bare", str(elsewhere)], check=True)
    project = pretended.project(project={"security_class": "gatekeeping"}, gate={"path": str(elsewhere)})
    with pytest.raises(SystemExit) as caught:
        built(project)
    assert str(elsewhere) in str(caught.value) and str(config.make_sandbox_config().gate_base_path) in str(caught.value)


def test_the_reset_mode_is_the_callers(pretended, monkeypatch):
    project = pretended.project()
    assert (built(project)["GIT_RESET_MODE"], built(project)["PROJECT_ID"]) == ("none", project)
    monkeypatch.setenv("TEROK_GIT_RESET_MODE", "hard")
    assert built(project)["GIT_RESET_MODE"] == "hard"


@pytest.mark.parametrize(
    ("proxied", "left"), [(True, {"ANTHROPIC_BASE_URL", "ANTHROPIC_UNIX_SOCKET"}), (False, set())]
)
def test_claudes_login_token_never_reaches_a_container(monkeypatch, proxied, left):
    monkeypatch.setattr(config, "is_claude_oauth_proxied", lambda: proxied)
    env = dict.fromkeys(("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_UNIX_SOCKET"), "x")
    environment._apply_claude_oauth_overrides(env)
    assert set(env) == left
    with_key = {"ANTHROPIC_API_KEY": "x", "ANTHROPIC_BASE_URL": "y"}
    environment._apply_claude_oauth_overrides(with_key)
    assert len(with_key) == 2


def test_shared_settings_lead_to_the_vault_only_where_it_is_used(pretended, monkeypatch):
    from terok.lib.integrations.executor import AgentRoster

    roster = AgentRoster.shared()
    every = {"codex", "gh", "vibe"}
    assert environment._vault_patch_provider_sets(roster, vault_bypass=True) == (set(), every)
    assert environment._vault_patch_provider_sets(roster) == (every - {"codex"}, {"codex"})
    monkeypatch.setattr(config, "is_codex_oauth_proxied", lambda: True)
    assert environment._vault_patch_provider_sets(roster) == (every, set())


def test_a_project_with_credentials_of_its_own_needs_one(pretended, monkeypatch):
    pretended.settings.write_text("")
    project = pretended.project(credentials={"scope": "project"})
    monkeypatch.setattr("terok.lib.integrations.executor.list_authenticated_agents", lambda scope: [])
    with pytest.raises(SystemExit) as caught:
        built(project)
    assert f"terok auth AGENT --project {project}" in str(caught.value)
    loaded = load_project(project)
    assert environment.project_mounts_dir(loaded) == loaded.root / "mounts"
    assert environment.project_mounts_dir(load_project(pretended.project("q"))) == config.sandbox_live_mounts_dir()


def test_a_real_credential_in_a_shared_directory_is_told_without_its_path(pretended, monkeypatch, capsys):
    found = [("claude", Path("/somewhere/secret.json")), ("gh", Path("/somewhere/hosts.yml"))]
    monkeypatch.setattr("terok.lib.integrations.executor.scan_leaked_credentials", lambda mounts: found)
    monkeypatch.setattr(config, "exposed_credential_providers", lambda: frozenset({"claude"}))
    environment._warn_leaked_credentials(pretended.root)
    told = capsys.readouterr().err
    assert "EXPOSED" in told and "claude" in told and "gh" in told and "/somewhere" not in told


def test_a_sealed_task_shares_no_directory(pretended):
    open_project = pretended.project(shared_dir=True)
    sealed = pretended.project("q", project={"security_class": "online", "isolation": "sealed"}, shared_dir=True)
    assert built(open_project)["TEROK_SHARED_DIR"] == "/shared" and "TEROK_SHARED_DIR" not in built(sealed)
