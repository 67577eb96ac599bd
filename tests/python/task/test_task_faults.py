"""What befalls tasks from outside: halves of files, other processes, clocks, names that attack, accounts without a home."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from terok.lib.orchestration import tasks
from terok.lib.orchestration.tasks import archive, meta

ATTACKS = (
    "../../../etc/passwd", "..", "/", "a/../../b", "~root", "a\nmode: run", "a: b #c", "- x", "{{x}}", "&a *b", "!!python",
    "$(touch x)", "`id`", "a;b|c", "%s%n", "\x1b[2J\x07", "a\0b", "\u202ereversed", "ａｂｃ", "null", "true", "1e3", "0x10",
    "0o17", "'", '"', "\\", "x" * 100_000, "-rf", "--help", " ", "é" * 80, "\ud800", "_meta.yml", ".lock", "2001-01-01",
)  # fmt: skip


@pytest.mark.parametrize("raw", ATTACKS, ids=[f"{number}" for number in range(len(ATTACKS))])
def test_a_name_is_a_plain_word_or_refused(project, home, capsys, raw):
    try:
        task = tasks.task_new("p1", name=raw)
    except SystemExit as refused:
        assert str(refused)
        assert not list((home / "state").rglob("*_dossier.json"))
        return
    told = capsys.readouterr().out
    assert told.count("\n") == 1 and told.rstrip("\n").isprintable()
    [found] = tasks.get_tasks("p1")
    assert found.name and len(found.name) <= 60 and not found.name.startswith("-")
    assert set(found.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert type(json.loads(tasks.dossier_path(tasks.tasks_meta_dir("p1"), task).read_text())["name"]) is str
    entry = archive.archive_task("p1", task, Path(found.workspace))
    assert entry.parent == tasks.tasks_archive_dir("p1")
    assert tasks.list_archived_tasks("p1")[0].name == found.name
    tasks.task_rename("p1", task, "plain")
    assert not (home / "x").exists() and not (Path.cwd() / "x").exists()


@pytest.mark.parametrize("typed", ["\udcff", "k3\udcff", "\ud800" * 5, "ａ", "k" * 10_000, "../x", "\0"])
def test_what_cannot_be_an_identifier_finds_nothing(project, typed):
    tasks.task_new("p1", name="one")
    assert not tasks.is_task_id(typed)
    with pytest.raises(SystemExit):
        tasks.resolve_task_id("p1", typed)


def test_half_of_a_file_hides_no_task(project):
    """Both files of one task, cut at every byte, beside a task that is whole."""
    whole, hurt = tasks.task_new("p1", name="whole"), tasks.task_new("p1", name="hurt")
    tasks.update_task_meta("p1", hurt, {"mode": "run", "exit_code": 3, "ready_at": "2026-01-02T03:04:05+00:00"})
    folder = tasks.tasks_meta_dir("p1")
    untouched = next(task for task in tasks.get_tasks("p1") if task.task_id == whole)
    for path in (tasks.dossier_path(folder, hurt), tasks.meta_path(folder, hurt)):
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            listed = {task.task_id: task for task in tasks.get_tasks("p1")}
            assert set(listed) == {whole, hurt}, (path.name, length)
            assert listed[whole] == untouched
        path.unlink()
        assert {task.task_id for task in tasks.get_tasks("p1")} == {whole, hurt}
        path.write_bytes(content)
    assert {task.task_id: task.exit_code for task in tasks.get_tasks("p1")} == {whole: None, hurt: 3}


def test_what_a_killed_writer_leaves_is_no_task(project):
    task = tasks.task_new("p1", name="one")
    folder = tasks.tasks_meta_dir("p1")
    for name in (f"{task}_meta.yml.tmp", f"{task}_dossier.json.tmp", f".{task}_meta.yml.x1", "k9zzz_meta.yml.tmp"):
        (folder / name).write_text("mode: [")
    (folder / "k8zzz_meta.yml").mkdir()
    (folder / "k7zzz_dossier.json").symlink_to(folder / "nowhere")
    assert task in {found.task_id for found in tasks.get_tasks("p1")}
    assert "k9zzz" not in {found.task_id for found in tasks.get_tasks("p1")}
    tasks.task_rename("p1", task, "two")
    assert tasks.read_task_meta(folder, task)["name"] == "two"


WRITER = """
import sys
from terok.lib.orchestration import tasks
task, who = sys.argv[1:]
for number in range(60):
    assert tasks.update_task_meta("p1", task, {f"{who}_{number}": number, "last": who})
    if number % 5 == 0:
        tasks.task_rename("p1", task, f"{who}-{number}")
"""


def test_processes_that_change_one_task_lose_nothing(project):
    task = tasks.task_new("p1", name="shared")
    who = ("ann", "bob", "cy")
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, task, name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for name in who
    ]
    seen = 0
    while any(process.poll() is None for process in running):
        assert tasks.read_task_meta(tasks.tasks_meta_dir("p1"), task)["workspace"]
        seen += 1
    assert [process.communicate()[1] for process in running] == [b""] * len(who) and seen
    found = tasks.read_task_meta(tasks.tasks_meta_dir("p1"), task)
    assert all(found[f"{name}_{number}"] == number for name in who for number in range(60))
    assert found["last"] in who and found["name"].split("-")[0] in who
    names = {path.name for path in tasks.tasks_meta_dir("p1").iterdir() if not path.name.startswith(".")}
    assert names == {f"{task}_dossier.json", f"{task}_meta.yml"}


def test_a_clock_that_was_wrong_loses_nothing(project):
    """Entries from the future stay where they are; what is archived today is found beside them."""
    folder = tasks.tasks_archive_dir("p1")
    for stamp in ("20990101T000000000000Z", "19700101T000000000000Z"):
        entry = folder / f"{stamp}_k3v8h_odd"
        entry.mkdir(parents=True)
        (entry / "task.json").write_text('{"task_id": "k3v8h", "name": "odd", "mode": null}')
    task = tasks.task_new("p1", name="today")
    tasks.update_task_meta(
        "p1", task, {"created_at": "2999-12-31T23:59:59+00:00", "ready_at": "2999-12-31T23:59:59+00:00"}
    )
    for path in tasks.tasks_meta_dir("p1").iterdir():
        os.utime(path, (2**33, 2**33))
    [found] = tasks.get_tasks("p1")
    assert found.created_at == "2999-12-31T23:59:59+00:00" and found.initialized
    tasks.update_task_exit_code("p1", task, 4)
    for path in tasks.tasks_meta_dir("p1").iterdir():
        os.utime(path, (1, 1))
    assert [one.exit_code for one in tasks.get_tasks("p1")] == [4]
    entry = archive.archive_task("p1", task, Path(found.workspace))
    stamps = [one.archived_at for one in tasks.list_archived_tasks("p1")]
    assert stamps == sorted(stamps, reverse=True) and len(stamps) == 3
    assert datetime.strptime(stamps[1], "%Y%m%dT%H%M%S%fZ") and entry.name.startswith(stamps[1])


HOSTILE = ("a: b", "- x", "#", "'", '"', "\n---\nmode: run\n", "!!python/object:os.system", "*a", "&a", "null", "~", "yes",
           "1e3", "0x1f", "1:30", "2026-01-01", "\t", "  lead", "trail  ", "{a: 1}", "[1]", "%x", "@x", "`x`", "\\n", "é☃𝄞",
           "\x85", "\u2028", "|", ">", "? x", "x: ", "", "=", "<<", "\ufeff")  # fmt: skip


def test_values_stay_values_in_the_files(project):
    """Every hostile text as a value and as a key."""
    task = tasks.task_new("p1", name="one")
    changes = {f"key_{number}": text for number, text in enumerate(HOSTILE)}
    changes |= {text: number for number, text in enumerate(HOSTILE) if text}
    assert tasks.update_task_meta("p1", task, changes)
    found = tasks.read_task_meta(tasks.tasks_meta_dir("p1"), task)
    assert {key: found[key] for key in changes} == changes
    assert found["mode"] is None and tasks.get_tasks("p1")[0].mode is None


def test_without_home_and_with_an_empty_environment(tmp_path):
    """An account's own home is in the user database; nothing but an answer or one line may come out."""
    script = (
        "from terok.lib import api\n"
        "try: print(len(api.list_projects()), api.get_tasks('no-such-project'))\n"
        "except SystemExit as refused: print('refused', refused)\n"
    )
    env = {"PATH": "/usr/bin:/bin", "TEROK_ROOT": str(tmp_path / "state"), "TEROK_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.endswith(" []\n")
    assert not (tmp_path / "state").exists(), "asking creates nothing"


@pytest.mark.parametrize("vanished", ["dossier", "meta", "directory", "folder"])
def test_what_vanishes_under_us_is_told_and_not_made_up(project, vanished):
    task = tasks.task_new("p1", name="one")
    folder = tasks.tasks_meta_dir("p1")
    workspace = Path(tasks.get_tasks("p1")[0].workspace)
    {
        "dossier": lambda: tasks.dossier_path(folder, task).unlink(),
        "meta": lambda: tasks.meta_path(folder, task).unlink(),
        "directory": lambda: workspace.rename(workspace.with_name("moved")),
        "folder": lambda: folder.rename(folder.with_name("moved")),
    }[vanished]()
    listed = [found.task_id for found in tasks.get_tasks("p1")]
    if vanished == "folder":
        assert listed == []
        with pytest.raises(SystemExit, match=task):
            tasks.task_rename("p1", task, "two")
        assert not meta.update_task_meta("p1", task, {"mode": "run"}) and not folder.exists()
        return
    assert listed == [task]
    tasks.task_rename("p1", task, "two")
    assert tasks.get_tasks("p1")[0].name == "two"
    assert (vanished != "directory") == workspace.exists()


@pytest.mark.parametrize("place", ["record", "directory"])
def test_a_place_that_cannot_be_written_is_told_and_leaves_nothing(project, home, place):
    folder = tasks.tasks_meta_dir("p1") if place == "record" else tasks.agent_config_dir("p1", "k3v8h").parents[1]
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with pytest.raises(SystemExit, match=str(folder)):
        tasks.task_new("p1", name="one")
    assert not list((home / "state").rglob("*_dossier.json")) and tasks.get_tasks("p1") == []
