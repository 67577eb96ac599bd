"""Folders of projects as nobody should leave them: doubled, linked, unreadable, moved in time."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from terok.lib.core import projects

NOBODY = 65534
ONLINE = "project: {security_class: online}\n"


def named():
    healthy, broken = projects.discover_projects()
    return [found.id for found in healthy], [found.id for found in broken]


def test_two_folders_that_claim_one_id_stay_apart(project):
    project("a", "project: {id: b, security_class: online}\n")
    project("b", ONLINE)
    assert named() == (["b"], ["a"])
    [broken] = projects.discover_projects()[1]
    assert "b" in broken.error and broken.config_path.parent.name == "a"
    assert projects.load_project("b").root.name == "b"
    with pytest.raises(SystemExit, match="b"):
        projects.load_project("a")


def test_links_lead_to_projects_or_to_nothing(home, project):
    project("real", ONLINE)
    folder = home / ".config/terok/projects"
    (home / "elsewhere").mkdir()
    (home / "elsewhere/project.yml").write_text(ONLINE)
    (folder / "linked").symlink_to(home / "elsewhere")
    (folder / "dangling").symlink_to(home / "nowhere")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "above").symlink_to(folder)
    (folder / "a-file").write_text("")
    (folder / "linked-file").mkdir()
    (folder / "linked-file/project.yml").symlink_to(home / "elsewhere/project.yml")
    healthy, broken = named()
    assert {"real", "linked", "linked-file"} == set(healthy)
    assert set(broken) <= {"dangling", "loop"}
    assert (home / "elsewhere/project.yml").read_text() == ONLINE


def test_what_is_no_file_is_not_waited_for(home, project):
    project("good", ONLINE)
    folder = home / ".config/terok/projects"
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe/project.yml")
    (folder / "nested/project.yml").mkdir(parents=True)
    script = "from terok.lib.core.projects import discover_projects; print([p.id for p in discover_projects()[0]])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "['good']\n"


def test_a_change_that_keeps_size_and_time_is_seen(project):
    """A clock that was set back, or a copy that keeps times."""
    path = project("p", "git: {default_branch: one}\nproject: {security_class: online}\n")
    os.utime(path, (1, 1))
    assert projects.list_projects()[0].default_branch == "one"
    path.write_text("git: {default_branch: two}\nproject: {security_class: online}\n")
    os.utime(path, (1, 1))
    assert projects.list_projects()[0].default_branch == "two"
    os.utime(path, (2**33, 2**33))
    other = path.with_name("other.yml")
    other.write_text("git: {default_branch: 333}\nproject: {security_class: online}\n".replace("333", '"3"'))
    os.utime(other, (2**33, 2**33))
    other.rename(path)
    assert projects.load_project("p").default_branch == "3"


@pytest.fixture
def plain_user():
    """A home of a user without rights, and Python run as that user there."""
    uid = os.geteuid() or NOBODY
    root = Path(tempfile.mkdtemp(prefix="plain-", dir="/tmp"))
    folder = root / ".config/terok/projects"
    for name in ("closed", "dark", "open"):
        (folder / name).mkdir(parents=True)
        (folder / name / "project.yml").write_text(ONLINE)
    for place in (root, *root.rglob("*")):
        os.chown(place, uid, uid)
    (folder / "closed").chmod(0)
    (folder / "dark/project.yml").chmod(0)

    def run(script):
        env = {"HOME": str(root), "PATH": os.environ["PATH"], "TEROK_ROOT": str(root / "state")}
        who = {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.run(
            [sys.executable, "-c", script], env=env, cwd="/", capture_output=True, text=True, timeout=60, **who
        )

    try:
        if run("import terok_native").returncode:
            pytest.skip("a plain user: cannot read this installation")
        yield run
    finally:
        (folder / "closed").chmod(0o700)
        shutil.rmtree(root)


def test_an_unreadable_folder_hides_nobody(plain_user):
    script = (
        "import json; from terok.lib.core.projects import discover_projects; healthy, broken = discover_projects();"
        "print(json.dumps([[p.id for p in healthy], {b.id: b.error for b in broken}]))"
    )
    done = plain_user(script)
    assert done.returncode == 0, done.stderr
    healthy, broken = json.loads(done.stdout)
    assert healthy == ["open"]
    assert "dark" in broken and "ermission denied" in broken["dark"]
    assert set(broken) == {"dark", "closed"}


def test_a_plain_user_without_anything_configured(plain_user):
    done = plain_user("from terok.lib import api; print(api.get_config().core_state_dir, api.get_tasks('open'))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("state/core []\n")
