"""A project is archived before it is deleted; what is not strictly ours stays."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from domain_house import House
from terok.lib.core import config, paths
from terok.lib.domain.project import delete_project, find_projects_sharing_gate


def ready(house: House) -> None:
    house.podman.plays("exit 0")


def names_of(archive: str) -> set[str]:
    with tarfile.open(archive) as found:
        return set(found.getnames())


def test_everything_goes_and_the_archive_has_it(house: House) -> None:
    ready(house)
    root = house.project()
    (root / "instructions.md").write_text("be kind")
    (root / "mounts").mkdir()
    (root / "mounts/token").write_text("real")
    task = house.task()
    result = delete_project("demo")
    assert result["archive"] and not root.exists() and not (paths.core_state_dir() / "projects/demo").exists()
    assert not (config.sandbox_live_dir() / "tasks/demo").exists()
    names = names_of(result["archive"])
    assert {"config/project.yml", "config/instructions.md"} <= names
    assert any(name.startswith("state/tasks/") and task in name for name in names)
    assert not any("mounts" in name for name in names)
    assert Path(result["archive"]).stat().st_mode & 0o777 == 0o600


# improves: 31-10.3-broken-deleted
def test_a_broken_project_can_be_deleted(house: House) -> None:
    ready(house)
    root = house.project("broken", "project: [\n")
    result = delete_project("broken")
    assert not root.exists() and "config/project.yml" in names_of(result["archive"] or "")


# improves: 31-10.3-strictly-below
@pytest.mark.parametrize("place", ["live", "foreign"])
def test_a_root_of_ours_and_foreign_places_are_never_removed(house: House, place: str) -> None:
    ready(house)
    target = config.sandbox_live_dir() if place == "live" else house.root / "foreign"
    target.mkdir(parents=True)
    (target / "kept").write_text("x")
    house.project(text=f"project: {{security_class: online}}\ntasks: {{root: {target}}}\n")
    result = delete_project("demo")
    assert (target / "kept").exists() and any(str(target) in line for line in result["skipped"])


@pytest.mark.parametrize("shared", ["above", "same", "logins"])
def test_what_other_projects_need_is_not_removed_with_one(house: House, shared: str) -> None:
    ready(house)
    live = config.sandbox_live_dir()
    place = {"above": live / "tasks", "same": live / "tasks/other", "logins": live / "mounts"}[shared]
    house.project("other")
    house.project("damaged", "project: [\n")
    theirs = live / "tasks/other" / house.task("other")
    (live / "mounts/_claude-config").mkdir(parents=True)
    (live / "tasks/damaged/g1abc").mkdir(parents=True)
    house.project(text=f"project: {{security_class: online}}\ntasks: {{root: {place}}}\n")
    own = place / house.task()
    result = delete_project("demo")
    assert theirs.exists() and (live / "mounts/_claude-config").exists() and (live / "tasks/damaged/g1abc").exists()
    assert not own.exists() and not (house.projects / "demo").exists()
    assert any(line.startswith(f"{place}: holds what others need") for line in result["skipped"])


# improves: 31-10.3-task-left
def test_a_project_stays_while_a_task_of_it_does(house: House) -> None:
    root = house.project()
    stuck, other = house.task(mode="cli"), house.task(mode="cli")
    mirror = config.gate_repos_dir() / "demo.git"
    mirror.mkdir(parents=True)
    house.containers(**{f"demo-cli-{task}": "running" for task in (stuck, other)})
    house.podman.answer("rm", "-f", f"demo-cli-{stuck}", stderr="device or resource busy", code=125)
    house.podman.answer("rm")
    house.podman.answer("image", code=1)
    result = delete_project("demo")
    tasks = config.sandbox_live_dir() / "tasks/demo"
    assert [path.name for path in tasks.iterdir()] == [stuck] and root.exists() and mirror.exists()
    assert result["deleted"] == [] and "resource busy" in result["skipped"][0] and stuck in result["skipped"][-1]
    house.podman.plays("exit 0")
    result = delete_project("demo")
    assert not tasks.exists() and not root.exists() and not mirror.exists() and str(root) in result["deleted"]


# improves: 31-10.3-linked-root
def test_a_linked_project_keeps_what_the_link_points_to(house: House) -> None:
    ready(house)
    real = house.root / "elsewhere"
    real.mkdir()
    (real / "project.yml").write_text("project: {security_class: online}\n")
    house.projects.mkdir(parents=True)
    (house.projects / "demo").symlink_to(real)
    result = delete_project("demo")
    assert (real / "project.yml").exists() and any("elsewhere" in line for line in result["skipped"])


# improves: 31-10.1-broken-shares
def test_a_mirror_that_a_broken_project_may_need_stays(house: House) -> None:
    ready(house)
    house.project()
    mirror = config.gate_repos_dir() / "demo.git"
    mirror.mkdir(parents=True)
    house.project("other", f"gate: {{path: {mirror}}}\nnonsense: true\n")
    assert [name for name, _ in find_projects_sharing_gate(mirror, exclude_project="demo")] == ["other"]
    result = delete_project("demo")
    assert mirror.exists() and any("other" in line for line in result["skipped"])


DELETE = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
from terok.lib.api import delete_project
delete_project("demo")
"""


# improves: 31-10.3-no-half-archive
def test_a_full_disk_stops_the_deletion_and_nothing_is_lost(house: House) -> None:
    ready(house)
    root = house.project()
    (root / "notes.md").write_bytes(os.urandom(200_000))
    task = house.task()
    done = subprocess.run([sys.executable, "-c", DELETE], capture_output=True, text=True)
    assert done.returncode == 1 and "nothing was deleted" in done.stderr, done.stderr
    assert (root / "notes.md").exists() and (config.sandbox_live_dir() / "tasks/demo" / task).exists()
    assert not list(config.archive_dir().iterdir())


def test_an_unknown_project_is_a_users_mistake(house: House) -> None:
    with pytest.raises(SystemExit, match="`nobody` not found"):
        delete_project("nobody")


# improves: 40-3.2-one-question
def test_podman_is_asked_once_for_many_tasks(house: House) -> None:
    house.project()
    tasks = [house.task(mode="cli") for _ in range(5)]
    house.containers(**{f"demo-cli-{tasks[0]}": "exited", "somebodys": "running"})
    house.podman.answer("rm")
    house.podman.answer("image", code=1)
    delete_project("demo")
    asked = [call[:2] for call in house.podman.calls]
    assert asked.count(["ps", "-a"]) == 1 and [c for c in asked if c[0] == "rm"] == [["rm", "-f"]]
