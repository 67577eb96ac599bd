"""The wizard: questions, answers, the file, and the conversation on a terminal."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from terok.lib.core import projects
from terok.lib.core.yaml_schema import RawProjectYaml
from terok.lib.domain.wizards import new_project as wizard
from terok.lib.integrations import sandbox
from terok.lib.util.yaml import load

FIXTURES = Path(__file__).parents[2] / "fixtures/project"
BY_KEY = {question.key: question for question in (*wizard.QUESTIONS, wizard.AGENTS_QUESTION)}


def answers(**changes):
    return {
        "project_id": "web-app",
        "upstream_url": "https://example.org/r.git",
        "default_branch": "main",
        "user_snippet": "",
        "security_class": "online",
        "base": "fedora",
        **changes,
    }


@pytest.fixture
def say(monkeypatch):
    """Answer the next questions on the terminal; an exception as answer is raised, the end of the list is the end."""

    def script(*lines):
        rest = list(lines)

        def answer(prompt=""):
            print(prompt, end="")
            if not rest:
                raise EOFError
            line = rest.pop(0)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", answer)
        return rest

    return script


# -- questions -------------------------------------------------------------------------------------------------------


def test_the_questions():
    assert [(q.key, q.kind, q.required) for q in wizard.QUESTIONS] == [
        ("security_class", "choice", True),
        ("base", "choice", True),
        ("project_id", "text", True),
        ("upstream_url", "text", False),
        ("default_branch", "text", False),
        ("user_snippet", "editor", False),
        ("credentials_scope", "choice", True),
    ]
    assert {q.key for q in wizard.QUESTIONS if q.default_visible} == {"upstream_url", "default_branch", "user_snippet"}
    assert [choice.slug for choice in wizard.BASES] == sorted(wizard.BASE_IMAGES)
    assert [c.label for c in wizard.BASES] == sorted((c.label for c in wizard.BASES), key=str.casefold)


def test_choices_serve_both_front_ends():
    for question in wizard.QUESTIONS:
        if question.kind == "choice":
            pairs = [(slug, label) for slug, label in question.choices]
            assert pairs and pairs == [(c.slug, c.label) for c in question.resolve_choices()]
    assert "claude" in [choice.slug for choice in wizard.AGENTS_QUESTION.resolve_choices()]


@pytest.mark.parametrize("available", [True, False])
def test_the_gpu_base_needs_a_gpu(monkeypatch, available):
    monkeypatch.setattr(sandbox, "check_gpu_available", lambda: available)
    reasons = {c.slug: c.disabled_reason for c in BY_KEY["base"].resolve_choices()}
    assert bool(reasons.pop("nvidia")) is not available and not any(reasons.values())
    value, error = wizard.validate_answer(BY_KEY["base"], "nvidia")
    assert value == "nvidia" and (error is None) is available
    assert available or "https://podman-desktop.io/docs/podman/gpu" in error


@pytest.mark.parametrize(
    "raw, slug",
    [
        ("terok pages", "terok-pages"),
        ("!!!", ""),
        ("My  Proj__", "my-proj"),
        ("-a-", "a"),
        ("É", ""),
        ("a\tb\u2003c", "a-b-c"),
        ("a--b__c", "a-b__c"),
        ("../etc/passwd", "etcpasswd"),
        ("Straße", "strasse"),
    ],
)
def test_ids_are_made_of_what_people_type(raw, slug):
    value, error = wizard.validate_answer(BY_KEY["project_id"], raw)
    assert value == slug and (error is None) == bool(slug)


@pytest.mark.parametrize(
    "key, raw, value, error",
    [
        ("project_id", "  ", "", "Project ID is required."),
        ("project_id", "default", "default", "reserved"),
        ("project_id", "x" * 60, "x" * 60, "52"),
        ("security_class", "", "", "Select security mode is required."),
        ("security_class", "open", "open", "gatekeeping, online"),
        ("security_class", " online ", "online", None),
        ("credentials_scope", "project", "project", None),
        ("upstream_url", "  ", "", None),
        ("upstream_url", " u ", "u", None),
        ("agents", "all", "all", None),
        ("agents", "claude,-gh", "claude,-gh", None),
        ("agents", "nope", "nope", "nope"),
        ("agents", "", "", "required"),
    ],
)
def test_answers(key, raw, value, error):
    found, objection = wizard.validate_answer(BY_KEY[key], raw)
    assert found == value
    assert (objection is None) if error is None else (error in objection and "\n" not in objection)


# -- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", sorted(wizard.BASE_IMAGES))
@pytest.mark.parametrize("security_class", ["online", "gatekeeping"])
def test_every_file_is_valid(base, security_class):
    for extra in ({}, {"agents": "claude"}, {"credentials_scope": "project"}, {"credentials_scope": "shared"}):
        text = wizard.render_project_yaml(answers(base=base, security_class=security_class, **extra))
        read = RawProjectYaml.model_validate(load(text))
        assert (read.project.id, read.project.security_class) == ("web-app", security_class)
        assert (read.image.base_image, read.image.agents) == (wizard.BASE_IMAGES[base], extra.get("agents"))
        assert (read.run.gpus == "all") == (base == "nvidia")
        assert read.credentials.scope == extra.get("credentials_scope", "shared")
        assert ("\ngatekeeping:" in text) == (security_class == "gatekeeping")
        assert text.startswith("# ") and base in text.splitlines()[0]
        assert ("`terok project agents set web-app`" in text) == ("agents" not in extra)


@pytest.mark.parametrize(
    "key", ["project_id", "upstream_url", "default_branch", "user_snippet", "security_class", "base"]
)
def test_missing_answers(key):
    given = answers()
    del given[key]
    with pytest.raises(KeyError, match=key):
        wizard.render_project_yaml(given)


def test_hostile_answers_stay_values(project):
    for hostile in json.loads((FIXTURES / "hostile_answers.json").read_text()):
        given = answers(upstream_url=hostile, default_branch=hostile, user_snippet=hostile, agents=hostile)
        text = wizard.render_project_yaml(given)
        read = load(text)
        assert list(read) == ["project", "git", "image"], hostile
        assert (read["git"]["upstream_url"], read["git"]["default_branch"]) == (hostile, hostile)
        project("web-app", text)
        loaded = projects.load_project("web-app")
        assert (loaded.upstream_url, loaded.hook_pre_start) == (hostile or None, None)


def test_later_edits_keep_the_comments(project):
    text = wizard.render_project_yaml(answers(user_snippet="  RUN a\n\nRUN b"))
    path = project("web-app", text)
    projects.set_project_image_agents("web-app", "claude")
    changed = path.read_text()
    assert [line for line in text.splitlines() if "#" in line] == [line for line in changed.splitlines() if "#" in line]
    loaded = projects.load_project("web-app")
    assert (loaded.agents, loaded.snippet_inline) == ("claude", "  RUN a\n\nRUN b\n")


def test_writing(home):
    path = wizard.write_project_yaml("web-app", "a: 1\n")
    assert path == home / ".config/terok/projects/web-app/project.yml"
    assert wizard.write_project_yaml("web-app", "b: 1\n") == path and path.read_text() == "a: 1\n"
    wizard.write_project_yaml("web-app", "b: 1\n", overwrite=True)
    assert path.read_text() == "b: 1\n" and [entry.name for entry in path.parent.iterdir()] == ["project.yml"]
    for name in ("../x", "/tmp/x", "default", ""):
        with pytest.raises(SystemExit):
            wizard.write_project_yaml(name, "")
    (home / ".config/terok/projects/file").write_text("")
    with pytest.raises(SystemExit, match="file"):
        wizard.write_project_yaml("file", "")


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from terok.lib.domain.wizards.new_project import write_project_yaml
write_project_yaml("web-app", "a: 1\\n")
"""


def test_a_full_disk_leaves_nothing_of_a_project(home):
    done = subprocess.run([sys.executable, "-B", "-c", FULL], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "web-app/project.yml" in done.stderr, done.stderr
    assert not list((home / ".config/terok/projects").iterdir())


# -- the conversation ------------------------------------------------------------------------------------------------


def test_a_whole_conversation(home, say, capsys, monkeypatch):
    monkeypatch.setattr(sandbox, "check_gpu_available", lambda: False)
    made = []
    # An unavailable base and an id that is none are asked for again.
    rest = say("2", "2", "1", "!!", "My Proj", "", "main", "n", "1", "y", "nope", "claude,codex", "n", "y")
    path = wizard.run_wizard(made.append)
    assert (path, made, rest) == (home / ".config/terok/projects/my-proj/project.yml", ["my-proj"], [])
    loaded = projects.load_project("my-proj")
    assert (loaded.security_class, loaded.agents, loaded.default_branch) == ("gatekeeping", "claude,codex", "main")
    captured = capsys.readouterr()
    assert "[unavailable: " in captured.out and "my-proj" in captured.out and str(path) in captured.out
    assert "required" in captured.err and "nope" in captured.err


@pytest.mark.parametrize("lines", [("9",), ("x",), ("",), ("²",), ("0",)])
def test_a_choice_that_is_none_ends_it(home, say, capsys, lines):
    say(*lines)
    assert wizard.run_wizard() is None
    assert capsys.readouterr().err and not (home / ".config").exists()


@pytest.mark.parametrize("end", [KeyboardInterrupt(), EOFError()])
def test_giving_up_writes_nothing(home, say, capsys, end):
    say("1", "1", "p", end)
    assert wizard.run_wizard() is None
    assert "ancelled" in capsys.readouterr().out and not (home / ".config").exists()


def test_the_editor(home, say, monkeypatch):
    seen = []

    def write(path):
        seen.append((path.name, stat.S_IMODE(path.stat().st_mode), path.read_text()))
        path.write_text(path.read_text() + "RUN x\n\n")
        return True

    monkeypatch.setattr("terok.ui_utils.editor.open_in_editor", write)
    say("1", "1", "p", "", "", "yes", "1", "", "n")
    wizard.run_wizard()
    [(name, mode, before)] = seen[:1]
    assert name.startswith("terok-snippet-") and name.endswith(".dockerfile") and mode == 0o600
    assert before.count("\n") == 2 and all(line.startswith("#") for line in before.splitlines())
    assert projects.load_project("p").snippet_inline == "RUN x\n"


def test_an_editor_that_fails_leaves_no_snippet_and_no_file(home, say, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("terok.ui_utils.editor.open_in_editor", lambda path: False)
    say("1", "1", "p", "", "", "y", "1", "", "")
    path = wizard.run_wizard()
    assert path.exists() and not list(tmp_path.glob("terok-snippet-*"))
    assert capsys.readouterr().err.count("no editor") == 2


def test_an_answer_that_is_no_text_is_asked_for_again(home, say, capsys):
    """A terminal of another encoding under the C locale."""
    say("1", "1", "p", "git@h:\udce9.git", "git@h:r.git", "", "n", "1", "n", "n")
    assert wizard.run_wizard() is not None and "no text" in capsys.readouterr().err
    assert projects.load_project("p").upstream_url == "git@h:r.git"


def test_without_room_for_a_snippet_the_other_answers_stay(home, say, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(home / "gone"))
    say("1", "1", "p", "", "", "y", "1", "n", "n")
    assert wizard.run_wizard() is not None and "no snippet" in capsys.readouterr().err
    assert projects.load_project("p").snippet_inline == ""


@pytest.mark.parametrize("answer, kept", [("", True), ("n", True), (EOFError(), True), ("y", False)])
def test_an_existing_file_is_replaced_only_after_a_yes(project, say, answer, kept):
    path = project("web-app", "# mine\n")
    say(answer)
    assert wizard.generate_config(answers()) == path
    assert (path.read_text() == "# mine\n") is kept


def test_what_comes_after(project, say, capsys):
    path = project("web-app")
    for lines, calls in ((("n", "n"), 0), (("n", ""), 1), ((EOFError(),), 0), (("n", KeyboardInterrupt()), 0)):
        made = []
        say(*lines)
        wizard.offer_edit_then_init(path, "web-app", made.append)
        assert len(made) == calls
        assert ("terok project init web-app" in capsys.readouterr().out) is (calls == 0)
    say("n")
    wizard.offer_edit_then_init(path, "web-app", None)
    assert "terok project init web-app" in capsys.readouterr().out

    def fail(project_id):
        raise RuntimeError(project_id)

    say("n", "y")
    with pytest.raises(RuntimeError, match="web-app"):
        wizard.offer_edit_then_init(path, "web-app", fail)


def test_the_hint_about_agents(home, say, configure, capsys):
    say("1", "1", "p", "", "", "n", "1", "", "n")
    wizard.run_wizard()
    assert "terok agents set" in capsys.readouterr().out
    configure("image: {agents: claude}\n")
    say("1", "1", "q", "", "", "n", "1", "", "n")
    wizard.run_wizard()
    assert "terok agents set" not in capsys.readouterr().out


def test_a_directory_nobody_can_write_is_a_users_mistake(home, say):
    (home / ".config/terok").mkdir(parents=True)
    (home / ".config/terok/projects").write_text("")
    with pytest.raises(SystemExit, match="Project"):
        wizard.generate_config(answers())
    assert os.listdir(home / ".config/terok") == ["projects"]
