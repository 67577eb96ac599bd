"""Status, display tables, work status and log formats."""

import io
import json
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace

import pytest
from terok.lib.core import task_display, task_state, work_status
from terok.lib.domain import log_format
from terok.lib.orchestration.tasks import TaskMeta

FIXTURES = Path(__file__).parents[2] / "fixtures/task"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "created"),
        ({"starting": True}, "starting"),
        ({"starting": True, "container_state": "running"}, "init"),
        ({"container_state": "running", "initialized": True}, "running"),
        ({"container_state": "exited", "exit_code": 0}, "completed"),
        ({"container_state": "exited", "exit_code": 2}, "failed"),
        ({"container_state": "paused"}, "stopped"),
        ({"initialized": True}, "not found"),
        ({"initialized": True, "exit_code": 0}, "completed"),
        ({"initialized": True, "exit_code": 1}, "failed"),
        ({"exit_code": 1}, "created"),
        ({"container_state": "running", "initialized": True, "deleting": True}, "deleting"),
    ],
)
def test_every_status(fields, expected):
    assert task_state.effective_status(task_state.TaskState(**fields)) == expected
    task = TaskMeta(task_id="k1abc", mode=None, workspace="", web_port=None, **fields)
    assert task.status == expected
    assert expected in task_display.STATUS_DISPLAY


def test_a_status_follows_its_fields():
    task = TaskMeta(task_id="k1abc", mode=None, workspace="", web_port=None)
    task.starting = True
    assert task.status == "starting"
    task.container_state, task.initialized = "running", True
    assert task.status == "running"
    task.deleting = True
    assert task.status == "deleting"
    with pytest.raises(TypeError):
        TaskMeta("k1abc", "p1")


def test_what_is_shown_takes_two_columns():
    tables = (
        task_display.STATUS_DISPLAY, task_display.MODE_DISPLAY, task_display.SECURITY_CLASS_DISPLAY,
        task_display.ISOLATION_DISPLAY, task_display.GPU_DISPLAY, work_status.WORK_STATUS_DISPLAY,
    )  # fmt: skip
    for table in tables:
        for key, info in table.items():
            assert [unicodedata.east_asian_width(c) for c in info.emoji] == ["W"], key
            assert info.label or key is None
    with pytest.raises(FrozenInstanceError):
        task_display.STATUS_DISPLAY["init"].label = "x"


@pytest.mark.parametrize("mode", [None, "web", 5, ["cli"], ""])
def test_what_is_no_mode_is_shown_as_none(mode):
    assert task_display.mode_info(mode) is task_display.MODE_DISPLAY[None]
    assert task_display.mode_info("run").label == "Autopilot"


def test_names_of_containers():
    assert task_state.CONTAINER_MODES == ("cli", "web", "run", "toad")
    assert task_state.container_name("p1", "cli", "k1abc") == "p1-cli-k1abc"


# improves: 30-8.4-gpu-text
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run:\n  gpus: all\n", True),
        ("run:\n  gpus: ALL\n", True),
        ("run:\n  gpus: true\n", True),
        ('run:\n  gpus: "true"\n', True),
        ("run:\n  gpus: false\n", False),
        ("run:\n  gpus: 1\n", False),
        ("run:\n", False),
        ("- run\n", False),
        ("run: [\n", False),
        ("", False),
    ],
)
def test_a_project_that_asks_for_gpus(tmp_path, text, expected):
    (tmp_path / "project.yml").write_text(text)
    assert task_state.has_gpu(SimpleNamespace(root=tmp_path)) is expected
    assert task_state.has_gpu(SimpleNamespace(root=None)) is False
    assert task_state.has_gpu(SimpleNamespace(root=tmp_path / "none")) is False


# improves: 30-8.5-status-links 30-8.5-status-size
def test_work_status(tmp_path, home):
    rows = json.loads((FIXTURES / "work_status.json").read_text())
    for row in rows["status"]:
        (tmp_path / "work-status.yml").write_text(row["text"])
        assert work_status.read_work_status(tmp_path) == work_status.WorkStatus(row["status"], row["message"])
    for row in rows["phase"]:
        (tmp_path / "pending-phase.yml").write_text(row["text"])
        expected = None if row["phase"] is None else work_status.PendingPhase(row["phase"], row["prompt"])
        assert work_status.read_pending_phase(tmp_path) == expected
    work_status.write_work_status(tmp_path / "new", "coding", "now")
    assert work_status.read_work_status(tmp_path / "new") == work_status.WorkStatus("coding", "now")
    work_status.write_work_status(tmp_path / "new", None)
    work_status.write_pending_phase(tmp_path / "new", "review", "all")
    assert work_status.read_pending_phase(tmp_path / "new") == work_status.PendingPhase("review", "all")
    work_status.clear_pending_phase(tmp_path / "new")
    work_status.clear_pending_phase(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    assert work_status.read_work_status(tmp_path / "none") == work_status.WorkStatus()
    for status, message in (("", None), (3, None), ("x", 3)):
        with pytest.raises(ValueError, match="work status"):
            work_status.write_work_status(tmp_path, status, message)
    for phase, prompt in (("", ""), (" ", ""), (3, ""), ("x", None)):
        with pytest.raises(ValueError, match="phase"):
            work_status.write_pending_phase(tmp_path, phase, prompt)
    assert set(work_status.WORK_STATUSES) == set(work_status.WORK_STATUS_DISPLAY)


def told(formatter, lines):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        for line in lines:
            formatter.feed_line(line)
        formatter.finish()
    return [out.getvalue(), err.getvalue()]


# improves: 31-13.2-odd-records 31-13.2-told-once
@pytest.mark.parametrize("row", json.loads((FIXTURES / "claude.json").read_text()), ids=lambda row: row["name"])
def test_logs_of_claude(row):
    formatter = log_format.ClaudeStreamJsonFormatter(streaming=True, color=True)
    assert told(formatter, row["lines"]) == row["streaming_coloured"]
    assert told(log_format.ClaudeStreamJsonFormatter(streaming=False, color=False), row["lines"]) == row["whole_plain"]


# improves: 31-13.2-control-sequences
def test_plain_logs_and_the_choice_of_a_formatter(monkeypatch):
    plain = log_format.auto_detect_formatter("cli")
    lines = ["one", "", "  two  \n", "\x1b[31mred\x1b[0m\x1b[2J", "\udc80"]
    assert told(plain, lines) == ["one\n\n  two  \n\x1b[31mred\x1b[0m\n?\n", ""]
    for mode, provider, kind in (
        ("run", None, log_format.ClaudeStreamJsonFormatter),
        ("run", "claude", log_format.ClaudeStreamJsonFormatter),
        ("run", "codex", log_format.PlainTextFormatter),
        ("toad", "claude", log_format.PlainTextFormatter),
        (None, None, log_format.PlainTextFormatter),
    ):
        formatter = log_format.auto_detect_formatter(mode, provider=provider)
        assert type(formatter) is kind
        assert isinstance(formatter, log_format.AgentLogFormatter)
    monkeypatch.setenv("FORCE_COLOR", "1")
    line = '{"type":"system","subtype":"init","model":"m"}'
    assert "\x1b[34m" in told(log_format.auto_detect_formatter("run"), [line])[0]
