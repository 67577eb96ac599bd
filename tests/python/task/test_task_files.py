"""Identifiers, names and metadata of tasks, as callers in Python see them."""

import json
import re
import stat
import threading
from pathlib import Path

import pytest
from terok.lib.orchestration import tasks
from terok.lib.orchestration.tasks import identity, lifecycle, meta, naming

NAMES = json.loads((Path(__file__).parents[2] / "fixtures/task/name.json").read_text())


def test_names_of_the_package_are_those_of_the_modules():
    for name in tasks.__all__:
        assert getattr(tasks, name) is vars(tasks)[name], name
    assert tasks.task_new is lifecycle.task_new
    assert tasks.is_task_id is identity.is_task_id
    with pytest.raises(AttributeError):
        _ = tasks.no_such_name


def test_identifiers():
    assert tasks.is_task_id("k3v8h") and not tasks.is_task_id("a3v8h") and not tasks.is_task_id(None)
    assert tasks.normalize_task_id_input("K3-V8I") == "k3v81"


def test_a_prefix_stands_for_one_task(home):
    folder = tasks.tasks_meta_dir("p1")
    for given in (None, "k3", "o1"):
        with pytest.raises(SystemExit) as refused:
            tasks.resolve_task_id("p1", given)
        assert str(refused.value)
    folder.mkdir(parents=True)
    for task in ("k3v8h", "k3v8j"):
        (folder / f"{task}_meta.yml").write_text("mode:\n")
    assert tasks.resolve_task_id("p1", "K3-V8H") == "k3v8h"
    with pytest.raises(SystemExit, match="k3v8h, k3v8j"):
        tasks.resolve_task_id("p1", "k3-v8")


# improves: 31-1.2-cut-name
def test_names_are_made_plain():
    for raw, expected in NAMES["sanitise"]:
        assert tasks.sanitize_task_name(raw) == expected, raw
        if expected:
            assert len(expected) <= tasks.TASK_NAME_MAX_LEN
    assert tasks.sanitize_task_name(None) is None
    assert tasks.validate_task_name("fine") is None
    objection = tasks.validate_task_name("-x")
    assert objection and not objection.endswith(".")


# improves: 31-1.2-unknown-category
def test_made_up_names_follow_the_choice_of_categories(project, monkeypatch):
    asked = []
    monkeypatch.setattr(naming._lib, "task_generate_name", lambda chosen: asked.append(chosen) or "made-up")
    naming.generate_task_name("p1")
    naming.generate_task_name("broken")
    naming.generate_task_name()
    project("project:\n  id: p1\n  security_class: online\ntasks:\n  name_categories: [art, food]\n")
    naming.generate_task_name("p1")
    assert asked[0] and len(asked[0]) == 3
    assert asked[2:] == [[], ["art", "food"]]
    monkeypatch.undo()


def test_an_unknown_category_is_told(project, home):
    project("project:\n  id: p1\n  security_class: online\ntasks:\n  name_categories: [cars]\n")
    with pytest.raises(SystemExit, match="cars"):
        tasks.task_new("p1")
    assert list(meta.iter_task_ids(tasks.tasks_meta_dir("p1"))) == []


def test_default_categories_never_change():
    from terok_native import _lib

    for project_id, expected in NAMES["default_categories"].items():
        assert _lib.task_default_categories(project_id) == expected


# improves: 31-3.1-no-adoption
def test_a_new_task(project, capsys):
    task = tasks.task_new("p1", name=" Fix Bug! ")
    assert re.fullmatch("[ghjkmnp-tv-z][0-9][0-9a-hjkmnp-tv-z]{3}", task)
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert task in told
    assert "fix-bug" in told
    found, handle = tasks.load_task_meta("p1", task)
    directory = Path(found["workspace"])
    assert str(directory) in told
    assert json.loads(handle.read_text()) == {"project": "p1", "task": task, "name": "fix-bug"}
    text = tasks.meta_path(handle.parent, task).read_text()
    assert text.startswith("mode:\n")
    assert "\nweb_port:\n" in text
    assert found["created_at"].endswith("+00:00")
    assert (directory / "workspace-dangerous/.new-task-marker").is_file()
    assert (directory / "README.md").is_file()
    for path in (directory, directory / "workspace-dangerous", handle.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["-x", "!!!", ""])
def test_a_bad_name_creates_nothing(project, home, name):
    with pytest.raises(SystemExit) as refused:
        tasks.task_new("p1", name=name)
    assert str(refused.value)
    assert not (home / "state").exists() or not list((home / "state").rglob("*_dossier.json"))


def test_a_rename(project, capsys):
    task = tasks.task_new("p1", name="one")
    tasks.task_rename("p1", task, "Number Two")
    assert "number-two" in capsys.readouterr().out
    assert tasks.load_task_meta("p1", task)[0]["name"] == "number-two"
    for unknown, name in ((task, "-x"), ("k9zzz", "fine")):
        with pytest.raises(SystemExit):
            tasks.task_rename("p1", unknown, name)


def test_writing_and_loading(home):
    folder = tasks.tasks_meta_dir("p1")
    handle = tasks.dossier_path(folder, "k3v8h")
    tasks.write_task_meta(
        handle, {"project_id": "p1", "task_id": "k3v8h", "name": "", "mode": "cli", "own": [1, {"a": None}]}
    )
    assert json.loads(handle.read_text()) == {"project": "p1", "task": "k3v8h"}
    assert tasks.read_task_meta(folder, "k3v8h") == {
        "project_id": "p1", "task_id": "k3v8h", "mode": "cli", "own": [1, {"a": None}],
    }  # fmt: skip
    with pytest.raises(ValueError, match="_dossier"):
        tasks.write_task_meta(tasks.meta_path(folder, "k3v8h"), {})
    tasks.load_task_meta("p1", "k3v8h", "cli")
    with pytest.raises(SystemExit, match=r"(?s)cli.*run"):
        tasks.load_task_meta("p1", "k3v8h", "run")
    with pytest.raises(SystemExit, match="Unknown task k9zzz"):
        tasks.load_task_meta("p1", "k9zzz")
    assert tasks.task_exists("p1", "k3v8h") and not tasks.task_exists("p1", "k9zzz")
    assert tasks.read_task_meta(folder, "k9zzz") is None


def test_single_keys(project):
    task = tasks.task_new("p1", name="n")
    tasks.update_task_exit_code("p1", task, 3)
    tasks.update_task_exit_code("p1", "k9zzz", 3)
    assert tasks.update_task_meta("p1", task, {"mode": "run", "name": "other"}, remove=["web_port"])
    found, _ = tasks.load_task_meta("p1", task)
    assert (found["exit_code"], found["mode"], found["name"]) == (3, "run", "other")
    assert "web_port" not in found
    tasks.update_task_exit_code("p1", task, None)
    assert tasks.load_task_meta("p1", task)[0]["exit_code"] is None
    assert not tasks.update_task_meta("p1", "k9zzz", {"mode": "run"})
    tasks.mark_task_deleting("p1", task)
    tasks.mark_task_deleting("p1", "k9zzz")
    tasks.mark_task_deleting("../x", task)
    assert tasks.load_task_meta("p1", task)[0]["deleting"] is True


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "..x"])
def test_names_that_lead_elsewhere(home, name):
    folder = tasks.tasks_meta_dir("p1")
    for refused in (
        lambda: tasks.tasks_meta_dir(name),
        lambda: tasks.tasks_archive_dir(name),
        lambda: tasks.dossier_path(folder, name),
        lambda: tasks.meta_path(folder, name),
        lambda: tasks.read_task_meta(folder, name),
        lambda: tasks.agent_config_dir("p1", name),
    ):
        with pytest.raises(SystemExit):
            refused()


def test_damaged_files_are_told_apart_from_missing_ones(home):
    folder = tasks.tasks_meta_dir("p1")
    folder.mkdir(parents=True)
    (folder / "k3v8h_meta.yml").write_text("mode: [\n")
    (folder / "k4v8h_dossier.json").write_text("[]")
    (folder / "k5v8h_meta.yml").write_text("")
    for task in ("k3v8h", "k4v8h"):
        with pytest.raises(ValueError, match=task):
            tasks.read_task_meta(folder, task)
    assert tasks.read_task_meta(folder, "k5v8h") == {}
    assert sorted(tasks.iter_task_ids(folder)) == ["k3v8h", "k4v8h", "k5v8h"]
    assert list(tasks.iter_task_ids(folder / "none")) == []


# improves: 31-2.1-locked-changes
def test_a_rename_and_an_exit_code_at_once(project, capsys):
    task = tasks.task_new("p1", name="n")
    failed = []

    def repeat(act):
        try:
            for number in range(100):
                act(number)
        except BaseException as error:
            failed.append(error)

    acts = (
        lambda number: tasks.task_rename("p1", task, f"name-{number}"),
        lambda number: tasks.update_task_exit_code("p1", task, number),
        lambda number: meta.record_hook(tasks.meta_path(tasks.tasks_meta_dir("p1"), task), f"hook-{number % 7}"),
    )
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, _ = tasks.load_task_meta("p1", task)
    assert not failed
    assert (found["name"], found["exit_code"], len(found["hooks_fired"])) == ("name-99", 99, 7)
