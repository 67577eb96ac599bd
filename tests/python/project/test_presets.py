"""Presets and the layers of the agent configuration."""

import pytest
from terok.lib.core import config, projects
from terok.lib.orchestration import agent_config
from terok.lib.util.yaml import load

TEAM = {
    "architect": ("opus", True, {"Read", "Grep", "Glob"}),
    "library-engineer": ("sonnet", True, {"Read", "Edit", "Write", "Grep", "Glob", "Bash"}),
    "integration-engineer": ("sonnet", True, {"Read", "Edit", "Write", "Grep", "Glob", "Bash"}),
    "test-engineer": ("sonnet", True, {"Read", "Edit", "Write", "Grep", "Glob", "Bash"}),
    "cli-engineer": ("sonnet", False, {"Read", "Edit", "Write", "Grep", "Glob", "Bash"}),
    "refactoring-engineer": ("sonnet", False, {"Read", "Edit", "Grep", "Glob", "Bash"}),
    "docs-writer": ("haiku", False, {"Read", "Edit", "Write", "Grep", "Glob"}),
}


def put(path, text="model: x\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_bundled_presets(project):
    project("p")
    assert [(p.name, p.source) for p in projects.list_presets("p")] == [
        ("review", "bundled"),
        ("solo", "bundled"),
        ("team", "bundled"),
    ]
    solo, _ = projects.load_preset("p", "solo")
    models = {"claude": "sonnet", "codex": "codex-mini", "vibe": "mistral-small", "_default": "fast"}
    assert solo == {"model": models, "max_turns": 25}
    review, path = projects.load_preset("p", "review")
    assert (review["model"], review["max_turns"], path.name) == ("opus", 15, "review.yml")
    [reviewer] = review["subagents"]
    assert (reviewer["name"], reviewer["model"], reviewer["default"]) == ("reviewer", "opus", True)
    assert set(reviewer["tools"]) == {"Read", "Grep", "Glob"}
    team, _ = projects.load_preset("p", "team")
    members = {a["name"]: (a["model"], a["default"], set(a["tools"])) for a in team["subagents"]}
    assert members == TEAM
    assert all(a["description"] and len(a["system_prompt"]) > 80 for a in team["subagents"])


def test_bundled_instructions_and_templates_come_with_the_package():
    from importlib.resources import files

    resources = files("terok") / "resources"
    text = (resources / "instructions/default.md").read_text(encoding="utf-8")
    assert all(word in text for word in ("terok", "container", "/workspace/", "sudo", "Git"))
    assert "project_id" in (resources / "templates/project.yml.j2").read_text(encoding="utf-8")


def test_higher_tiers_win(home, project):
    root = project("p").parent
    user = put(config.user_presets_dir() / "solo.yaml")
    own = put(root / "presets/review.yml")
    found = {p.name: (p.source, p.path) for p in projects.list_presets("p")}
    assert found["solo"] == ("global", user) and found["review"] == ("project", own)
    assert projects.find_preset_path(projects.load_project("p"), "review") == own
    assert projects.find_preset_path(projects.load_project("p"), "none") is None


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "", "..", "a b", "a\0"])
def test_names_stay_in_their_directory(project, name):
    project("p")
    for call in (
        lambda: projects.load_preset("p", name),
        lambda: projects.find_preset_path(projects.load_project("p"), name),
    ):
        with pytest.raises(SystemExit, match="invalid preset name"):
            call()


def test_unusable_presets_are_refused_with_their_path(home, project):
    project("p")
    for text in ("- a\n", "x\n", "a: [\n"):
        path = put(config.user_presets_dir() / "mine.yml", text)
        with pytest.raises(SystemExit, match=str(path)):
            projects.load_preset("p", "mine")
    with pytest.raises(SystemExit, match=r"available: mine, review, solo, team"):
        projects.load_preset("p", "nope")


def test_layers_with_their_sources(home, project, configure):
    configure("agent: {model: haiku, max_turns: 3, subagents: [{name: g}]}\n")
    root = project("p", "agent: {max_turns: 9}\n").parent
    put(config.user_presets_dir() / "mine.yml", "timeout: 5\nsubagents: [_inherit, {name: m}]\n")
    put(root / "presets/own.yml", "timeout: 6\n")
    loaded = projects.load_project("p")
    given = {"agent_config": loaded.agent_config, "project_root": loaded.root}
    stack = agent_config.build_agent_config_stack("p", **given, preset="mine", cli_overrides={"model": "opus"})
    assert [(scope.level, scope.source) for scope in stack.scopes] == [
        ("global", None),
        ("project", loaded.root / "project.yml"),
        ("preset (user)", config.user_presets_dir() / "mine.yml"),
        ("cli", None),
    ]
    assert stack.resolve() == {
        "model": "opus",
        "max_turns": 9,
        "subagents": [{"name": "g"}, {"name": "m"}],
        "timeout": 5,
    }
    for preset, level in (("own", "preset (project)"), ("solo", "preset (bundled)")):
        assert agent_config.build_agent_config_stack("p", preset=preset).scopes[-1].level == level
    configure("")
    assert agent_config.build_agent_config_stack("p").scopes == []
    assert agent_config.resolve_agent_config("p", agent_config={"a": 1}) == {"a": 1}


def test_presets_are_yaml_that_everybody_reads():
    for path in config.bundled_presets_dir().glob("*.yml"):
        assert isinstance(load(path.read_text(encoding="utf-8")), dict)
