"""What one implementation wrote, the other shows, changes and hands back with nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from compat_state import CONFIG, PROJECT, State

OURS = Path(sys.executable)
LATER = {"list": [1, "two"], "text": "über: #x"}


def later_days(state: State, python: Path, tasks: dict[str, str]) -> str:
    """Rename, end, archive and add, done by `python` to the state of the other; the identifier of the added task."""
    answers = state.do(
        python,
        ["rename", "alpha", tasks["ran"], "renamed by the other"],
        ["ended", "alpha", tasks["ran"], 0],
        ["delete", "alpha", tasks["served"]],
        ["new", "alpha", "added"],
        ["choose", "alpha", "codex"],
        ["derive", "beta", "gamma"],
    )
    assert answers[2] == [], "the deletion had nothing to warn of"
    return str(answers[3])


def expected_after(view: dict[str, Any], tasks: dict[str, str], after: dict[str, Any]) -> None:
    """Nothing but what those days changed differs from the view before."""
    alpha, new = view["projects"]["alpha"], after["projects"]["alpha"]
    known = {task["task_id"]: task for task in new["tasks"]}
    before = {task["task_id"]: task for task in alpha["tasks"]}
    assert known[tasks["fresh"]] == before[tasks["fresh"]]
    assert known[tasks["ran"]] == before[tasks["ran"]] | {"name": "renamed-by-the-other", "exit_code": 0}
    assert tasks["served"] not in known
    assert [one[:4] for one in new["archived"]] == [
        [tasks["served"], "served", "toad", None], [tasks["gone"], "gone", "cli", None],
    ]  # fmt: skip
    assert new["archived"][1] == alpha["archived"][0]
    assert new["facts"] == alpha["facts"] | {"agents": "codex"}
    assert after["projects"]["beta"] == view["projects"]["beta"]
    assert after["projects"]["gamma"]["facts"]["gate_path"] == alpha["facts"]["gate_path"]
    assert after["config"] == view["config"]


def nothing_lost(state: State, python: Path, tasks: dict[str, str], added: str) -> None:
    """What no view shows: unknown keys, comments, both files of every task, logs, texts beside the projects."""
    ran = state.do(python, ["document", "alpha", tasks["ran"]])[0]
    assert ran["of_a_later_version"] == LATER
    assert ran["hooks_fired"] == ["pre_start", "post_start"]
    files = {path.name for path in state.tasks_meta.iterdir() if not path.name.startswith(".")}
    here = (tasks["fresh"], tasks["ran"], added)
    assert files == {f"{task}{ending}" for task in here for ending in ("_dossier.json", "_meta.yml")}
    dossier = json.loads((state.tasks_meta / f"{tasks['ran']}_dossier.json").read_text())
    assert dossier == {"project": "alpha", "task": tasks["ran"], "name": "renamed-by-the-other"}
    project = (state.config / "projects/alpha/project.yml").read_text()
    assert project.split() == PROJECT.replace("claude,codex", "codex").split()
    for name in ("alpha", "beta", "gamma"):
        assert (state.config / "projects" / name / "instructions.md").read_text() == "Be brief.\n"
        assert "# after the end" in (state.config / "projects" / name / "project.yml").read_text()
    assert (state.config / "config.yml").read_text() == CONFIG
    for entry in state.view(python)["projects"]["alpha"]["archived"]:
        assert state.do(python, ["log", "alpha", entry[4]]) == ["one line\n"]


def test_a_recorded_state_is_shown_as_the_original_showed_it(state):
    recorded = state.recorded()
    assert state.view(OURS) == recorded["view"]


def test_a_recorded_state_is_renamed_archived_deleted_and_extended(state):
    recorded = state.recorded()
    added = later_days(state, OURS, recorded["tasks"])
    expected_after(recorded["view"], recorded["tasks"], state.view(OURS))
    nothing_lost(state, OURS, recorded["tasks"], added)


@pytest.mark.parametrize("writer", ["ours", "theirs"])
def test_either_continues_what_the_other_began(state, original, writer):
    first, second = (OURS, original) if writer == "ours" else (original, OURS)
    tasks = state.history(first)
    view = state.view(first)
    assert state.view(second) == view
    added = later_days(state, second, tasks)
    for reader in (first, second):
        expected_after(view, tasks, state.view(reader))
        nothing_lost(state, reader, tasks, added)


def test_both_take_turns_with_one_task(state, original):
    state.settings()
    task = state.do(OURS, ["new", "alpha", "shared"])[0]
    for turn in range(3):
        state.do(original, ["change", "alpha", task, {f"theirs_{turn}": turn}])
        state.do(OURS, ["change", "alpha", task, {f"ours_{turn}": [turn]}], ["rename", "alpha", task, f"turn {turn}"])
    document = state.do(original, ["document", "alpha", task])[0]
    assert document == state.do(OURS, ["document", "alpha", task])[0]
    assert document["name"] == "turn-2"
    assert all(document[f"theirs_{turn}"] == turn and document[f"ours_{turn}"] == [turn] for turn in range(3))


HOSTILE = ("a: b", "- x", "#", "'", '"', "\n---\nmode: run\n", "!!python/object:x", "*a", "&a", "null", "~", "yes", "1e3",
           "0x1f", "0o17", "1:30", "2026-01-01", "\t", "  lead", "trail  ", "{a: 1}", "[1]", "%x", "@x", "`x`", "\\n",
           "|", "? x", "x: ", "=", "<<", "w " * 100)  # fmt: skip


# Line ends of an older YAML; the original's writer breaks texts at them, whoever reads them.
OLD_BREAKS = ("\x85", "\u2028", "a\u2029b")


@pytest.mark.parametrize("writer", ["ours", "theirs"])
def test_either_reads_odd_texts_of_the_other(state, original, writer):
    first, second = (OURS, original) if writer == "ours" else (original, OURS)
    state.settings()
    task = state.do(first, ["new", "alpha", "odd"])[0]
    texts = HOSTILE + (OLD_BREAKS if writer == "ours" else ())
    changes = {f"key_{number}": text for number, text in enumerate(texts)} | dict.fromkeys(texts, 1)
    state.do(first, ["change", "alpha", task, changes])
    document = state.do(second, ["document", "alpha", task])[0]
    assert {key: document[key] for key in changes} == changes
