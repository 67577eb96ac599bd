"""GitGate: what callers see of a synchronisation."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mirror_site import Project
from terok_sandbox import GateAuthNotConfigured, GateStalenessInfo, GitGate, is_ssh_url

_TABLE = Path(__file__).parents[2] / "fixtures" / "mirror" / "ssh_urls.tsv"


@pytest.mark.parametrize("row", [row for row in _TABLE.read_text().splitlines() if row])
def test_addresses_that_mean_ssh(row: str) -> None:
    wanted, address = row.split("\t")
    assert is_ssh_url(address) is (wanted == "ssh")


def test_no_address_is_not_ssh() -> None:
    assert is_ssh_url(None) is False
    assert is_ssh_url("") is False


def test_result_of_creation_and_of_the_next_sync(project: Project) -> None:
    commit = project.commit("one")
    gate = project.gate(clone_cache_base=project.base / "cache")
    assert gate.cache_path == project.base / "cache" / "proj"
    assert not project.mirror.parent.exists(), "making the object touches nothing"
    wanted = {
        "path": str(project.mirror),
        "upstream_url": f"file://{project.upstream}",
        "created": True,
        "success": True,
        "updated_branches": ["all"],
        "errors": [],
        "cache_refreshed": True,
    }
    result = gate.sync()
    assert result == wanted and list(result) == list(wanted)
    assert (project.base / "cache/proj/file").read_text() == "one"
    assert gate.sync(branches=["main"]) == {**wanted, "created": False, "updated_branches": ["main"]}
    assert gate.sync_branches() == {"success": True, "updated_branches": ["all"], "errors": []}
    last = gate.last_commit()
    assert last is not None and last["commit_hash"] == commit and last["commit_message"] == "one"
    assert last["commit_author"] == "t@example.org" and last["commit_date"][10] == " "


# improves: 22-M1-agent-refs-kept
def test_what_an_agent_pushed_stays(project: Project) -> None:
    project.commit("one")
    gate = project.gate()
    gate.sync()
    mine = project.commit("mine", to=project.mirror)
    project.git(project.work, "push", "-q", str(project.mirror), "HEAD:refs/heads/feature")
    assert gate.sync()["success"]
    assert (project.tip("refs/heads/main"), project.tip("refs/heads/feature")) == (mine, mine)
    state = gate.compare_vs_upstream()
    assert (state.is_stale, state.commits_behind, state.commits_ahead) == (True, 0, 1)


def test_a_mirror_without_upstream(project: Project) -> None:
    gate = project.gate(upstream_url=None, clone_cache_base=project.base / "cache")
    first, second = gate.sync(), gate.sync()
    assert (first["created"], second["created"]) == (True, False)
    assert (first["upstream_url"], first["updated_branches"], first["errors"], first["success"]) == (None, [], [], True)
    assert first["cache_refreshed"] is False and not (project.base / "cache").exists()
    assert (project.mirror / "HEAD").is_file()
    assert gate.last_commit() is None
    assert gate.sync(force_reinit=True)["created"]


# improves: 22-M2-reinit-keeps
def test_starting_anew_says_where_the_old_one_is(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    project.commit("one")
    gate = project.gate()
    gate.sync()
    mine = project.commit("mine", "feature", to=project.mirror)
    with caplog.at_level(logging.WARNING):
        assert gate.sync(force_reinit=True)["created"]
    (aside,) = project.mirror.parent.glob("proj.git.before-*")
    assert str(aside) in caplog.text
    assert project.git(aside, "rev-parse", "refs/heads/feature") == mine
    assert project.tip("refs/heads/feature") == ""


def test_order_of_the_steps(project: Project) -> None:
    def refuse(scope: str) -> None:
        raise SystemExit(f"no {scope}")

    with pytest.raises(SystemExit, match="no proj"):
        project.gate(validate_gate_fn=refuse).sync()
    assert not project.mirror.parent.exists()
    seen: list[str] = []
    gate = project.gate(validate_gate_fn=seen.append)
    assert gate.sync_branches() == {"success": False, "updated_branches": [], "errors": ["Gate not initialized"]}
    assert seen == [], "nothing is asked about a mirror that is not there"


def test_errors_of_an_upstream(project: Project) -> None:
    with pytest.raises(SystemExit, match="git clone --mirror failed") as raised:
        project.gate(upstream_url=f"file://{project.base}/nowhere").sync()
    assert "nowhere" in str(raised.value)
    assert not project.mirror.exists()
    project.commit("one")
    project.gate().sync()
    broken = project.gate(upstream_url=f"file://{project.base}/nowhere").sync()
    assert broken["success"] is False and broken["updated_branches"] == [] and broken["cache_refreshed"] is False
    (error,) = broken["errors"]
    assert error.startswith("remote update failed: ") and "nowhere" in error


# improves: 22-M8-option-guard
@pytest.mark.parametrize(
    "address", ["--upload-pack=touch ran", "-x", "ext::sh -c touch% ran", "ssh://-oProxyCommand=x/y"]
)
def test_addresses_that_are_options_never_reach_git(project: Project, address: str) -> None:
    with pytest.raises(SystemExit, match=r"git clone --mirror failed.*refused"):
        project.gate(upstream_url=address, use_personal_ssh=True).sync()
    project.commit("one")
    project.gate().sync()
    odd = project.gate(upstream_url=address, use_personal_ssh=True)
    assert odd.sync_branches()["success"] is False
    assert odd.compare_vs_upstream().error == "Could not reach upstream"
    for branch in ("--help", "-x", "a..b"):
        assert project.gate().compare_vs_upstream(branch).error == "Gate not initialized"


def test_a_missing_git_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.commit("one")
    project.gate().sync()
    monkeypatch.setenv("PATH", str(project.base))
    with pytest.raises(SystemExit, match="git not found"):
        project.gate(gate_path=project.base / "other/p.git").sync()
    assert "git not found" in project.gate().sync_branches()["errors"][0]
    assert project.gate().last_commit() is None


# improves: 22-M6-no-prompt 22-M7-clean-environment
def test_what_surrounds_us_has_no_effect(project: Project) -> None:
    project.commit("one")
    trap = project.base / "ran"
    script = project.base / "trap"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    env = {
        **os.environ,
        "GIT_DIR": "/nowhere",
        "GIT_WORK_TREE": "/nowhere",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": str(script),
        "GIT_TRACE": str(project.base / "trace"),
        "GIT_ASKPASS": str(script),
        "SSH_ASKPASS": str(script),
        "GIT_PROXY_COMMAND": str(script),
        "GIT_TEMPLATE_DIR": str(project.base),
    }
    program = (
        "import sys; from terok_sandbox import GitGate\n"
        f"g = GitGate(scope='p', gate_path={str(project.mirror)!r}, upstream_url={'file://' + str(project.upstream)!r},"
        f" clone_cache_base={str(project.base / 'cache')!r})\n"
        "r = g.sync(); assert r['success'] and r['cache_refreshed'], r\n"
        "print(g.last_commit()['commit_message'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False)
    assert (done.stdout, done.returncode) == ("one\n", 0), done.stderr
    assert not trap.exists() and not (project.base / "trace").exists()


# improves: 22-M5-clone-bounded
def test_nothing_is_written_to_the_terminal(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    project.commit("one")
    gate = project.gate()
    heard: list[str] = []
    gate.progress = heard.append
    gate.sync()
    project.commit("two")
    gate.sync()
    assert any("objects" in line and "%" in line for line in heard), heard
    assert not any("\r" in line or "\x1b" in line for line in heard)
    assert tuple(capfd.readouterr()) == ("", "")


def test_what_a_listener_raises_ends_the_sync(project: Project) -> None:
    project.commit("one")
    gate = project.gate()

    def stop(_line: str) -> None:
        raise KeyboardInterrupt

    gate.progress = stop
    with pytest.raises(KeyboardInterrupt):
        gate.sync()
    assert not project.mirror.exists()
    gate.progress = None
    assert gate.sync()["created"]


# improves: 22-M4-mirror-lock
def test_several_threads_at_once(project: Project) -> None:
    project.commit("one")
    results: list[bool] = []
    gates = [project.gate(clone_cache_base=project.base / "cache") for _ in range(5)]
    threads = [threading.Thread(target=lambda g=g: results.append(g.sync()["success"])) for g in gates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 5
    project.git(project.mirror, "fsck", "--connectivity-only")


def test_each_reason_why_nothing_is_compared(project: Project) -> None:
    def early(state: GateStalenessInfo) -> tuple[str | None, str | None, str | None]:
        assert (state.is_stale, state.commits_behind, state.commits_ahead) == (False, None, None)
        assert state.upstream_head is None and "T" in state.last_checked and "+" not in state.last_checked
        return state.error, state.branch, state.gate_head

    assert early(project.gate(default_branch=None).compare_vs_upstream()) == ("No branch configured", None, None)
    assert early(project.gate().compare_vs_upstream()) == ("Gate not initialized", "main", None)
    head = project.commit("one")
    project.gate().sync()
    assert early(project.gate(upstream_url=None).compare_vs_upstream()) == ("No upstream URL configured", "main", head)
    gone = project.gate(upstream_url=f"file://{project.base}/nowhere")
    assert early(gone.compare_vs_upstream()) == ("Could not reach upstream", "main", head)
    assert project.gate().compare_vs_upstream("nothing").error == "Gate not initialized"
    same = project.gate().compare_vs_upstream()
    assert (same.is_stale, same.commits_behind, same.commits_ahead, same.error) == (False, 0, 0, None)
    new = project.commit("two")
    unknown = project.gate().compare_vs_upstream()
    assert (unknown.is_stale, unknown.upstream_head, unknown.gate_head) == (True, new, head)
    assert (unknown.commits_behind, unknown.commits_ahead) == (None, None), "the tip was not fetched"
    project.git(project.work, "reset", "-q", "--hard", head)
    project.commit("mine", to=project.mirror)
    project.gate().sync()
    apart = project.gate().compare_vs_upstream()
    assert (apart.commits_behind, apart.commits_ahead) == (1, 1)


# improves: 22-1.6-local-facts 22-1.7-local-read
def test_local_facts_need_no_vault(project: Project) -> None:
    head = project.commit("one")
    project.gate().sync()
    ssh = project.gate(upstream_url="git@example.org:x.git")
    last = ssh.last_commit()
    assert last is not None and last["commit_hash"] == head
    assert ssh.compare_vs_upstream("nothing").error == "Gate not initialized"
    assert project.gate(upstream_url="git@example.org:x.git", default_branch=None).compare_vs_upstream().error
    for call in (ssh.sync, ssh.sync_branches, ssh.compare_vs_upstream):
        with pytest.raises(GateAuthNotConfigured) as raised:
            call()
        text = str(raised.value)
        assert raised.value.scope == "proj" and "'proj'" in text
        assert "`terok project ssh-init proj`" in text and "`terok project gate-sync --use-personal-ssh proj`" in text
    ssh.close()
    ssh.close()


def test_a_web_address_never_needs_a_key(project: Project) -> None:
    gate = GitGate(scope="p", gate_path=project.mirror, upstream_url="https://127.0.0.1:1/x.git")
    with pytest.raises(SystemExit, match="git clone --mirror failed"):
        gate.sync()


def test_a_password_shows_nowhere(project: Project) -> None:
    address = "http://user:hunter2@127.0.0.1:1/x.git"
    with pytest.raises(SystemExit) as raised:
        project.gate(upstream_url=address).sync()
    assert "hunter2" not in str(raised.value)
    project.commit("one")
    project.gate().sync()
    result = project.gate(upstream_url=address).sync()
    assert "hunter2" not in str(result["errors"])
    assert "hunter2" not in (project.mirror / "config").read_text()
