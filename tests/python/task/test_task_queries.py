"""Listing tasks, their states, and their archive."""

import json
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from terok.lib.core import paths
from terok.lib.orchestration import container_exec, tasks
from terok.lib.orchestration.tasks import archive


@pytest.fixture
def two(project, capsys):
    """A task that never ran and one that has: their identifiers."""
    fresh, ran = tasks.task_new("p1", name="fresh"), tasks.task_new("p1", name="ran")
    tasks.update_task_meta("p1", ran, {"mode": "cli", "ready_at": "now", "web_port": 18700, "preset": "solo"})
    capsys.readouterr()
    return fresh, ran


def test_tasks_are_listed_by_identifier_without_asking_podman(two, podman):
    listed = tasks.get_tasks("p1")
    assert [task.task_id for task in listed] == sorted(two)
    assert [task.task_id for task in tasks.get_tasks("p1", reverse=True)] == sorted(two, reverse=True)
    by_id = {task.task_id: task for task in listed}
    fresh, ran = by_id[two[0]], by_id[two[1]]
    assert (fresh.name, fresh.mode, fresh.status, fresh.project_id) == ("fresh", None, "created", "p1")
    assert (ran.mode, ran.status, ran.web_port, ran.preset, ran.initialized) == (
        "cli",
        "not found",
        18700,
        "solo",
        True,
    )
    assert podman.asked == 0
    listed[0].name = "changed"
    assert tasks.get_tasks("p1")[0].name != "changed", "objects are never handed out twice"
    assert tasks.get_tasks("unknown") == []


def test_states_come_from_one_question(two, podman):
    fresh, ran = two
    podman.states = {f"p1-cli-{ran}": "running", "p1-other-cli-x": "exited"}
    listed = tasks.get_tasks("p1")
    assert tasks.get_all_task_states("p1", listed) == {fresh: None, ran: "running"}
    assert podman.asked == 1
    podman.fails = True
    assert tasks.get_all_task_states("p1", listed) == {fresh: None, ran: None}
    assert tasks.get_task_container_state("p1", ran, "cli") is None
    assert tasks.get_task_container_state("p1", fresh, None) is None


def test_one_task(two, podman):
    fresh, ran = two
    podman.states = {f"p1-cli-{ran}": "Running"}
    task = tasks.TaskMeta.load("p1", ran)
    assert (task.container_state, task.status) == ("running", "running")
    assert tasks.get_task_meta("p1", fresh).container_state is None
    assert podman.asked == 1
    with pytest.raises(SystemExit, match="Unknown task"):
        tasks.get_task_meta("p1", "k9zzz")
    assert tasks.lookup_container_by_pt("p1", ran) == f"p1-cli-{ran}"
    for project_id, task_id in (("p1", fresh), ("p1", "k9zzz"), ("../p", ran), ("p1", "../x"), ("p1", "")):
        assert tasks.lookup_container_by_pt(project_id, task_id) is None


# improves: 31-3.5-nameless
def test_damaged_tasks_hide_nobody(two, capsys):
    folder = tasks.tasks_meta_dir("p1")
    (folder / "g1aaa_meta.yml").write_text("mode: run\nexit_code: 3\nready_at: x\nworksp")
    (folder / "g2aaa_meta.yml").write_text("mode: run\nready_at: x\n")
    (folder / "g3aaa_dossier.json").write_text('{"name": "alone"}')
    (folder / "g4aaa_meta.yml").write_text(": [")
    (folder / "not-an-id_meta.yml").write_text("mode: run\n")
    listed = {task.task_id: (task.name, task.status) for task in tasks.get_tasks("p1")}
    assert listed["g1aaa"] == ("", "failed")
    assert listed["g2aaa"] == ("", "not found")
    assert listed["g3aaa"] == ("alone", "created")
    assert set(listed) == {*two, "g1aaa", "g2aaa", "g3aaa"}
    tasks.get_tasks("p1")
    log = (paths.core_state_dir() / "terok.log").read_text()
    assert log.count("g4aaa_meta.yml") == 1, "told once, although front ends ask all the time"
    tasks.task_status("p1", "g2aaa")
    assert "g2aaa" in capsys.readouterr().out


def test_the_list_and_its_filters(two, podman, capsys):
    fresh, ran = two
    podman.states = {f"p1-cli-{ran}": "running"}

    def told(**filters):
        tasks.task_list("p1", **filters)
        return capsys.readouterr().out

    both = {f"- {fresh}: fresh created\n", f"- {ran}: ran running [mode=cli; port=18700]\n"}
    assert set(told().splitlines(keepends=True)) == both
    assert told(mode="cli") == told(status="running") == told(agent="solo")
    assert told(mode="cli").startswith(f"- {ran}:")
    assert told(mode="toad") == "No tasks found\n"


def test_what_an_agent_says_is_in_the_list(two, capsys):
    fresh, _ran = two
    folder = tasks.agent_config_dir("p1", fresh)
    folder.mkdir()
    (folder / "work-status.yml").write_text('status: coding\nmessage: "a\\e[31mb"\n')
    task = tasks.get_task_meta("p1", fresh)
    assert (task.work_status, task.work_message) == ("coding", "ab")
    tasks.task_list("p1")
    assert "[work=coding]" in capsys.readouterr().out


def test_a_project_that_cannot_be_loaded_still_has_its_tasks(two, project):
    project("project: [\n")
    assert len(tasks.get_tasks("p1")) == 2


@pytest.mark.parametrize(("against", "commits"), [("HEAD", ("HEAD",)), ("PREV", ("HEAD~1", "HEAD")), ("x", ("HEAD",))])
def test_the_diff_of_a_workspace(two, monkeypatch, against, commits):
    fresh, ran = two
    asked = []
    monkeypatch.setattr(container_exec, "container_git_diff", lambda *args, **_: asked.append(args) or "diff")
    assert tasks.get_workspace_git_diff("p1", ran, against) == "diff"
    assert asked == [("p1", ran, "cli", *commits)]
    assert tasks.get_workspace_git_diff("p1", fresh) is None
    assert tasks.get_workspace_git_diff("p1", "k9zzz") is None

    def refuse(*_args, **_):
        raise SystemExit("no")

    monkeypatch.setattr(container_exec, "container_git_diff", refuse)
    assert tasks.get_workspace_git_diff("p1", ran) is None


# improves: 31-4.3-archive-private
def test_the_archive(two, capsys):
    _fresh, ran = two
    tasks.update_task_meta("p1", ran, {"web_token": "s3cret", "exit_code": 0})
    directory = Path(tasks.load_task_meta("p1", ran)[0]["workspace"])
    (directory / "logs").mkdir()
    (directory / "logs/container.log").write_text("log\n")
    tasks.task_archive_list("p1")
    assert capsys.readouterr().out == "No archived tasks found\n"
    entry = archive.archive_task("p1", ran, directory)
    assert entry.parent == tasks.tasks_archive_dir("p1")
    kept = json.loads((entry / "task.json").read_text())
    assert kept["name"] == "ran"
    assert "s3cret" not in (entry / "task.json").read_text()
    assert stat.S_IMODE((entry / "task.json").stat().st_mode) == 0o600
    [found] = tasks.list_archived_tasks("p1")
    assert found == tasks.ArchivedTask(entry, entry.name[:22], ran, "ran", "cli", 0)
    tasks.task_archive_list("p1")
    assert capsys.readouterr().out == f"- {entry.name[:22]} #{ran}: ran [mode=cli; exit=0]\n"
    assert tasks.task_archive_logs("p1", entry.name[:10]) == entry / "logs/container.log"
    assert tasks.task_archive_logs("p1", "") == entry / "logs/container.log"
    assert tasks.task_archive_logs("p1", "1999") is None
    assert archive.archive_task("p1", "k9zzz", directory) is None


def test_a_disk_that_is_full_loses_nothing(two, home):
    """The files that may be written are limited: the archive cannot be completed, and says so."""
    _fresh, ran = two
    directory = Path(tasks.load_task_meta("p1", ran)[0]["workspace"])
    (directory / "logs").mkdir()
    (directory / "logs/container.log").write_text("x" * 200_000)
    script = textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        from terok.lib.orchestration.tasks import archive
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            archive.archive_task("p1", {ran!r}, Path({str(directory)!r}))
        except OSError as error:
            print("refused:", error)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused: cannot archive"), done
    assert list(tasks.tasks_archive_dir("p1").iterdir()) == []
    assert tasks.load_task_meta("p1", ran)[0]["mode"] == "cli"
    assert archive.archive_task("p1", ran, directory) is not None
