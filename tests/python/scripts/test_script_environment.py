"""Shell environment: silent, idempotent, the same in every kind of shell."""

from __future__ import annotations

import json

import pytest
from container_box import FIXTURES

BASH_ENV = "/etc/profile.d/terok-env.sh"
IDENTITIES = json.loads((FIXTURES / "git_identity.json").read_text())


@pytest.mark.parametrize("shell", ["bash -c", "bash -lc", "bash -ic"])
def test_functions_exist_and_stdout_stays_empty(box, shell):
    (box.base / "home/dev/.bashrc").write_text(f"source {BASH_ENV}\n")
    (box.base / "etc/profile").write_text(f"source {BASH_ENV}\n")
    result = box.bash(f"{shell} 'declare -F _terok_env_ready _terok_apply_git_identity >&2'", BASH_ENV=BASH_ENV)
    assert result.out == ""
    assert "_terok_env_ready" in result.err and "_terok_apply_git_identity" in result.err


def test_posix_shells_may_read_the_profile(box):
    result = box.run("sh", "-euc", f". {BASH_ENV}; echo fine")
    assert (result.status, result.out, result.err) == (0, "fine\n", "")


def test_strict_callers_survive(box):
    result = box.run("bash", "--norc", "-c", f"set -euo pipefail; source {BASH_ENV}; source {BASH_ENV}; echo $-")
    assert result.status == 0, result.err
    assert "e" in result.out and "u" in result.out
    assert result.err == ""


def test_path_gets_each_directory_once_and_leaves_a_virtual_environment_ahead(box):
    script = f"""
        PATH=/usr/bin:/bin; source {BASH_ENV}; echo "$PATH"
        unset -f _terok_apply_git_identity _terok_env_ready; PATH=/work/.venv/bin:$PATH; source {BASH_ENV}; echo "$PATH"
    """
    first, second = box.bash(script).out.splitlines()
    home = "/home/dev"
    assert first == f"{home}/.npm-packages/bin:{home}/.local/bin:{home}/.opencode/bin:/usr/bin:/bin"
    assert second == f"/work/.venv/bin:{first}"


def test_wrappers_are_read_last_and_may_not_write_to_stdout(box):
    wrappers = box.base / "share/terok/terok-env-wrappers.sh"
    wrappers.write_text("echo noise; claude() { echo wrapped; }\n")
    assert box.bash("claude", BASH_ENV=BASH_ENV).out == "wrapped\n"


@pytest.mark.parametrize("case", IDENTITIES, ids=lambda case: case["mode"] or "unset")
def test_authorship_of_real_commits(box, case):
    script = """
        cd /workspace && git init -q . && (
            _terok_apply_git_identity Claude noreply@anthropic.com
            git commit -q --allow-empty -m x
        ) && git log -1 --format='%an <%ae>|%cn <%ce>'
    """
    env = {"HUMAN_GIT_NAME": "Ada", "HUMAN_GIT_EMAIL": "ada@example.org", "GIT_AUTHOR_NAME": "stale"}
    if case["mode"]:
        env["TEROK_GIT_AUTHORSHIP"] = case["mode"]
    result = box.bash(script, BASH_ENV=BASH_ENV, **env)
    assert result.out.strip() == f"{case['author']}|{case['committer']}", result.err


def test_human_defaults(box):
    script = '_terok_apply_git_identity A a@b; echo "$GIT_COMMITTER_NAME $GIT_COMMITTER_EMAIL $GIT_AUTHOR_NAME"'
    assert box.bash(script, BASH_ENV=BASH_ENV).out == "Nobody nobody@localhost A\n"


@pytest.mark.parametrize("tool", ["gh", "glab"])
def test_forge_tools_act_for_the_person(box, tool):
    box.program(tool, '#!/bin/sh\necho "$1 $GIT_AUTHOR_NAME $GIT_COMMITTER_EMAIL"\nexit 7\n')
    result = box.bash(
        f'{tool} pr; echo "$? ${{GIT_AUTHOR_NAME-}}"', BASH_ENV=BASH_ENV, HUMAN_GIT_NAME="Ada", HUMAN_GIT_EMAIL="ada@x"
    )
    assert result.out == "pr Ada ada@x\n7 \n"


def test_dead_agent_socket_is_forgotten(box):
    result = box.bash('echo "[${SSH_AUTH_SOCK-}]"', BASH_ENV=BASH_ENV, SSH_AUTH_SOCK="/tmp/ssh-agent.sock")
    assert result.out == "[]\n"
    kept = box.bash('echo "[${SSH_AUTH_SOCK-}]"', BASH_ENV=BASH_ENV, SSH_AUTH_SOCK="/srv/own.sock")
    assert kept.out == "[/srv/own.sock]\n"


def test_banner_shows_the_waiting_prompt_once_and_only_on_a_terminal(box):
    banner = box.base / "home/dev/.bashrc"
    from container_box import SCRIPTS

    banner.write_text((SCRIPTS / "terok-bash-banner.sh").read_text())
    (box.base / "home/dev/.terok").mkdir()
    (box.base / "home/dev/.terok/initial-prompt.txt").write_text("fix the parser\n")
    assert "fix the parser" not in box.bash("bash -ic true").out
    on_terminal = box.run("script", "-qec", "bash -ic 'bash -ic true'", "/dev/null")
    assert on_terminal.out.count("fix the parser") == 1
    assert on_terminal.out.count("Permissions:") == 1
