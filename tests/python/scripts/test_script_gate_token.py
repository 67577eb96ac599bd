"""The gate's token: used for every request, kept out of the repository, the output and the arguments of git."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_script_init_repo import ORIGIN

OLD, NEW = "terok-g-" + "a" * 32, "terok-g-" + "b" * 32


@pytest.fixture
def gate_box(box):
    shutil.copy(Path(__file__).with_name("small_gate.py"), box.base / "srv/gate.py")
    assert box.run("bash", "-euc", f"{ORIGIN}\ngit -C /srv/origin.git config http.receivepack true").status == 0
    return box


def run(box, token: str, script: str, **env):
    prelude = f"""
        python3 /srv/gate.py /srv {token} 2>/srv/gate.log & for i in $(seq 100); do
        (exec 3<>/dev/tcp/127.0.0.1/9418) 2>/dev/null && break; sleep 0.05; done
        cd /workspace
    """
    url = f"http://{token}@localhost:9418/origin.git"
    return box.bash(
        prelude + script, REPO_ROOT="/workspace", CODE_REPO=url, TEROK_GATE_TOKEN=token, GIT_TRACE="2", **env
    )


def test_clone_restart_with_new_token_and_push(gate_box):
    first = run(gate_box, OLD, "init-ssh-and-repo.sh; git remote get-url origin", GIT_BRANCH="dev")
    assert first.status == 0, first.err
    assert first.out.splitlines()[-1] == "http://localhost:9418/origin.git"

    push = "git -c user.name=A -c user.email=a@x commit -q --allow-empty -m mine && git push -q origin dev && echo pushed"
    second = run(gate_box, NEW, f"init-ssh-and-repo.sh && {push}", GIT_BRANCH="dev", GATE_REMOTE_URL=f"http://{NEW}@localhost:9418/origin.git")
    assert second.out.splitlines()[-1] == "pushed", second.err

    for token in (OLD, NEW):
        assert token not in first.out + first.err + second.out + second.err
        for path in (gate_box.base / "workspace/.git").rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes(), path
        assert token not in (gate_box.base / "home/dev/.gitconfig").read_text()


def test_refused_token_is_fatal_and_not_shown(gate_box):
    script = f"CODE_REPO=${{CODE_REPO/{OLD}/other}} init-ssh-and-repo.sh"
    result = run(gate_box, OLD, script)
    assert result.status == 128
    assert "other@" not in result.out + result.err and "***@localhost" in result.out


def test_seeded_from_the_gate_with_an_earlier_token_is_kept(gate_box):
    seed = f"""
        git clone -q /srv/origin.git . && git remote set-url origin http://{OLD}@localhost:9418/origin.git
        touch .new-task-marker; touch .git/seeded
        init-ssh-and-repo.sh && ls .git/seeded && git remote get-url origin
    """
    result = run(gate_box, NEW, seed, GIT_BRANCH="dev")
    assert result.out.splitlines()[-2:] == [".git/seeded", "http://localhost:9418/origin.git"], result.err


def test_credentials_of_an_upstream_are_never_printed(gate_box):
    env = {"EXTERNAL_REMOTE_URL": "https://user:s3cr3t@127.0.0.1:1/x.git"}
    result = run(gate_box, OLD, "init-ssh-and-repo.sh", **env)
    assert result.status == 0
    assert "s3cr3t" not in result.out + result.err and "https://***@127.0.0.1:1/x.git" in result.out
