"""Projects are found, loaded and changed; what is broken is seen and hurts nobody else."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from terok.lib.core import projects
from terok.lib.core.yaml_schema import RawProjectYaml


def test_healthy_and_broken_by_id(project):
    for name, text in {"b": "", "a": "", "d": "- x\n", "c": 'bogus: "\x1b[2J"\n'}.items():
        project(name, text)
    healthy, broken = projects.discover_projects()
    assert [found.id for found in healthy] == ["a", "b"]
    assert [found.id for found in broken] == ["c", "d"]
    assert all(isinstance(found.config_path, Path) and found.error.splitlines()[0] for found in broken)
    assert "\x1b" not in broken[0].error
    with pytest.raises(AttributeError):
        broken[0].id = "x"


def test_a_listing_names_the_broken_on_stderr_and_in_the_log(project, capsys, caplog):
    project("good")
    project("bad", "bogus: 1\nrun: 5\n")
    with caplog.at_level(logging.WARNING):
        assert [found.id for found in projects.list_projects()] == ["good"]
    captured = capsys.readouterr()
    assert captured.out == "" and "bad" in captured.err and "  bogus: Extra inputs are not permitted" in captured.err
    [record] = caplog.records
    assert "bad" in record.getMessage() and "\n" not in record.getMessage() and "\\n" in record.getMessage()


def test_a_listing_says_it_once_without_a_log(project):
    project("bad", "bogus: 1\n")
    script = "from terok.lib.core.projects import list_projects; list_projects()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.count("Extra inputs") == 1 and done.stdout == ""


@pytest.mark.parametrize("name", ["../x", "/etc", "..", "", "a/b", "a\0b", "A", "x" * 53, "\udcff", "p\ud800"])
def test_odd_ids_are_refused_before_the_disk_is_asked(home, name):
    for call in (projects.load_project, projects.require_project_exists, projects.list_presets):
        with pytest.raises(SystemExit, match="invalid project id"):
            call(name)


def test_an_unknown_project_names_both_places(home):
    for call in (projects.load_project, projects.require_project_exists):
        with pytest.raises(SystemExit) as refused:
            call("nope")
        assert f"{home}/.config/terok/projects/nope" in str(refused.value)
        assert f"{home}/system/projects/nope" in str(refused.value)


def test_existence_needs_no_readable_content(project):
    project("p", b"\xff\xfe")
    projects.require_project_exists("p")
    with pytest.raises(SystemExit, match=r"Failed to read .*/p/project\.yml"):
        projects.load_project("p")


def test_the_users_project_hides_the_systems(home, project):
    project("p", "project: {security_class: online}\n")
    other = home / "system/projects/p/project.yml"
    other.parent.mkdir(parents=True)
    other.write_text("")
    assert projects.load_project("p").security_class == "online"
    other.parent.rename(other.parent.with_name("q"))
    assert [found.id for found in projects.list_projects()] == ["p", "q"]


def test_without_home_the_user_database_is_asked(home, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(home / "none.yml"))
    healthy, broken = projects.discover_projects()
    assert isinstance(healthy, list) and isinstance(broken, list)


@pytest.mark.parametrize("text, message", [("", ""), ("robot", "robot"), (3, "3"), (["agent"], "agent")])
def test_authorship(text, message):
    if not message:
        assert projects.normalize_git_authorship(text) == projects.DEFAULT_GIT_AUTHORSHIP
        return
    with pytest.raises(SystemExit) as refused:
        projects.normalize_git_authorship(text)
    assert all(mode in str(refused.value) for mode in (*projects.VALID_GIT_AUTHORSHIP_MODES, message))
    assert projects.normalize_git_authorship(" Human-AGENT ") == "human-agent"


def test_git_knows_who_somebody_is(home, project):
    project("p")
    subprocess.run(["git", "config", "--global", "user.name", " Ada L. "], check=True)
    subprocess.run(["git", "config", "--global", "user.email", "ada@example.org"], check=True)
    found = projects.load_project("p")
    assert (found.human_name, found.human_email) == ("Ada L.", "ada@example.org")
    subprocess.run(["git", "config", "--global", "--unset", "user.email"], check=True)
    assert projects.load_project("p").human_email == "nobody@localhost"


def test_derived_projects(home, project):
    project("old", "# keep\nproject: {name: Old}\nagent: {model: opus}\n")
    assert projects.derive_project("old", "new") == home / ".config/terok/projects/new"
    assert "# keep" in (home / ".config/terok/projects/new/project.yml").read_text()
    before = sorted(home.rglob("*"))
    for source, new in (("old", "new"), ("old", "../x"), ("old", "default"), ("none", "x")):
        with pytest.raises(SystemExit):
            projects.derive_project(source, new)
    assert sorted(home.rglob("*")) == before


def test_setting_agents_keeps_the_rest(project):
    path = project("p", "# top\nimage:\n  base_image: x # why\nrun: {memory: 4g}\n")
    os.chmod(path, 0o644)
    assert projects.set_project_image_agents("p", "claude") == path
    assert "# top" in path.read_text() and "base_image: x # why" in path.read_text()
    assert (path.stat().st_mode & 0o777, projects.load_project("p").agents) == (0o600, "claude")
    project("bad", "- x\n")
    with pytest.raises(SystemExit, match=r"bad/project\.yml"):
        projects.set_project_image_agents("bad", "all")


def test_threads_see_the_same(project):
    for number in range(20):
        project(f"p{number:02}", f"git: {{upstream_url: 'u{number}'}}\n")
    seen = []

    def work():
        for _ in range(5):
            seen.append([(found.id, found.upstream_url) for found in projects.list_projects()])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40 and all(listing == seen[0] for listing in seen) and len(seen[0]) == 20


def test_reading_creates_nothing(home, project):
    project("p")
    before = sorted(home.rglob("*"))
    projects.list_projects()
    projects.load_project("p")
    projects.list_presets("p")
    assert sorted(home.rglob("*")) == before


def test_many_projects_are_listed_at_once(project):
    """Bound with room for a busy machine; a process or a pydantic validation per project would break it."""
    text = "project: {security_class: online}\ngit: {upstream_url: 'https://x/y.git'}\nrun: {memory: 4g}\n"
    for number in range(200):
        project(f"p{number:03}", text)
    projects.list_projects()
    spent = []
    for _ in range(5):
        start = time.process_time()
        assert len(projects.list_projects()) == 200
        spent.append(time.process_time() - start)
    assert min(spent) < 0.1, spent


@pytest.mark.parametrize(
    "text", ["bogus: 1\n", "run: {memory: 4x, hooks: {x: 1}}\n", "- a\n", "gatekeeping: {auto_sync: {branches: x}}\n"]
)
def test_errors_are_those_of_the_schema_class(project, text):
    from pydantic import ValidationError
    from terok.lib.util.yaml import load

    project("p", text)
    with pytest.raises(SystemExit) as refused:
        projects.load_project("p")
    with pytest.raises(ValidationError) as wanted:
        RawProjectYaml.model_validate(load(text))
    lines = [f"  {' → '.join(map(str, error['loc']))}: {error['msg']}" for error in wanted.value.errors()]
    assert str(refused.value).splitlines()[1:] == lines
