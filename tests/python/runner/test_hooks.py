"""The user's commands around a container's life: what they get, and that they hold nothing up."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from e2e_site import until
from terok.lib.orchestration import hooks


def _fire(name: str, command: str | None, task_dir: Path | None = None, **more: object) -> None:
    about = {"project_id": "p", "task_id": "k3v8h", "mode": "cli", "cname": "p-cli-k3v8h"}
    hooks.run_hook(name, command, task_dir=task_dir, **about, **more)  # type: ignore[arg-type]


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_hook_sees_whose_it_is(pretended, tmp_path):
    _fire("post_start", f"env > {tmp_path}/seen", tmp_path, web_port=18700)
    _fire("pre_start", f"env > {tmp_path}/seen-without")
    seen = (tmp_path / "seen").read_text().splitlines()
    wanted = ("HOOK=post_start", "PROJECT_ID=p", "TASK_ID=k3v8h", "TASK_MODE=cli", "CONTAINER_NAME=p-cli-k3v8h")
    assert {f"TEROK_{line}" for line in (*wanted, "WEB_PORT=18700", f"TASK_DIR={tmp_path}")} <= set(seen)
    assert f"HOME={os.environ['HOME']}" in seen
    without = (tmp_path / "seen-without").read_text()
    assert "TEROK_WEB_PORT" not in without and "TEROK_TASK_DIR" not in without


# improves: 31-5.1-status-logged
def test_a_hook_that_fails_is_in_the_log_with_what_it_said(pretended):
    _fire("post_stop", "echo out of paper; exit 3")
    assert "hook post_stop failed with exit status 3: out of paper" in pretended.log()


# improves: 31-5.1-process-group
def test_a_hook_that_hangs_ends_with_all_it_started(pretended, tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "_STARTUP_HOOK_TIMEOUT", 2)
    began = time.monotonic()
    _fire("pre_start", f"(trap '' TERM; sleep 60) & echo $! > {tmp_path}/child; sleep 60")
    assert time.monotonic() - began < 50
    child = int((tmp_path / "child").read_text())
    until(lambda: _gone(child), "the end of the hook's child")
    assert "did not end within 2 seconds" in pretended.log()


# improves: 31-5.1-left-behind
def test_what_a_hook_leaves_running_on_purpose_holds_nothing_up(pretended, tmp_path):
    began = time.monotonic()
    _fire("post_start", f"sleep 60 & echo $! > {tmp_path}/left")
    took, left = time.monotonic() - began, int((tmp_path / "left").read_text())
    assert took < 50 and not _gone(left)
    os.kill(left, 9)


# improves: 31-5.1-either-handle
@pytest.mark.parametrize("suffix", ["_dossier.json", "_meta.yml"])
def test_a_moment_is_recorded_once_whichever_file_names_the_task(pretended, suffix):
    from terok.lib.orchestration.tasks import tasks_meta_dir

    project = pretended.project()
    task = pretended.task(project)
    for _ in range(2):
        _fire("post_stop", None, meta_path=tasks_meta_dir(project) / f"{task}{suffix}")
    assert pretended.meta(project, task)["hooks_fired"] == ["post_stop"]


def test_the_record_of_a_hook_is_no_reason_to_fail(pretended, tmp_path):
    _fire("post_stop", f"touch {tmp_path}/ran", meta_path=tmp_path / "nobody_dossier.json")
    _fire("post_stop", f"touch {tmp_path}/again", meta_path=tmp_path / "no handle at all")
    assert (tmp_path / "ran").exists() and (tmp_path / "again").exists()
