"""The model of a project behaves as front ends use it."""

import json
import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from terok.lib.core import projects
from terok.lib.core.project_model import ProjectConfig, is_valid_project_id, validate_project_id

FIXTURES = Path(__file__).parents[2] / "fixtures/project"
REQUIRED = {
    "id": "p",
    "security_class": "online",
    "upstream_url": None,
    "default_branch": None,
    "root": Path("/r"),
    "tasks_root": Path("/t"),
    "gate_path": Path("/g"),
    "staging_root": None,
}


def test_defaults_of_a_model_made_by_hand():
    made = ProjectConfig(**REQUIRED)
    assert isinstance(made, BaseModel)
    assert (made.agents, made.base_image, made.isolation, made.shutdown_timeout) == (
        "all",
        "ubuntu:24.04",
        "shared",
        10,
    )
    assert (made.auto_sync_branches, made.agent_config, made.shield_drop_on_task_run) == ([], {}, True)
    with pytest.raises(ValidationError):
        ProjectConfig(**{**REQUIRED, "runtime": "runc"})
    with pytest.raises(ValidationError):
        ProjectConfig(id="p")


def test_a_model_cannot_be_changed():
    made = ProjectConfig(**REQUIRED)
    with pytest.raises(ValidationError):
        made.id = "q"


def test_computed_values(project):
    project("p", "project: {isolation: sealed}\ncredentials: {scope: project}\n")
    loaded = projects.load_project("p")
    dumped = loaded.model_dump()
    assert dumped["is_sealed"] is True and dumped["presets_dir"] == loaded.root / "presets"
    assert not {"credential_set", "project_mounts_dir", "default_login"} & set(dumped)
    assert (loaded.credential_set, loaded.project_mounts_dir) == ("p", loaded.root / "mounts")
    assert ProjectConfig(**REQUIRED).credential_set == "default"


def test_a_loaded_model_is_one_that_pydantic_would_make(home, project):
    for number, text in enumerate(
        ("", "project: {security_class: online}\ntasks: {name_categories: food}\nshared_dir: 1\n")
    ):
        project(f"p{number}", text)
        loaded = projects.load_project(f"p{number}")
        fields = {name: getattr(loaded, name) for name in ProjectConfig.model_fields}
        assert ProjectConfig(**fields) == loaded
        assert all(isinstance(getattr(loaded, name), Path) for name in ("root", "tasks_root", "gate_path"))
        assert json.loads(loaded.model_dump_json())["agents"] == "all"
        assert pickle.loads(pickle.dumps(loaded)) == loaded
        assert loaded.gate_path.as_uri().startswith("file:///")
        assert loaded.model_fields_set == set(ProjectConfig.model_fields)


# improves: 40-4.1-agents
def test_agents_are_a_text_that_yields_names(project):
    project("p", "image: {agents: 'claude, -gh,,vibe'}\n")
    loaded = projects.load_project("p")
    assert isinstance(loaded.agents, str) and loaded.agents.strip() == "claude, -gh,,vibe"
    assert ",".join(loaded.agents) == "claude,-gh,vibe"
    copy = loaded.model_copy(update={"agents": "all"})
    assert type(copy) is ProjectConfig and list(copy.agents) == ["all"]
    assert list(loaded.agents) == ["claude", "-gh", "vibe"]
    assert ",".join(ProjectConfig(**REQUIRED).agents) == "all"
    assert list(ProjectConfig(**REQUIRED, agents="a,b").agents) == ["a", "b"]
    assert list(loaded.model_copy(deep=True).agents) == ["claude", "-gh", "vibe"]


def test_both_names_of_the_shell():
    made = ProjectConfig(**REQUIRED, default_login="fish")
    assert (made.default_login, made.default_shell) == ("fish", "fish")
    copy = made.model_copy(update={"default_login": "zsh"})
    assert (copy.default_login, copy.default_shell) == ("zsh", "zsh")


@pytest.mark.parametrize("case", json.loads((FIXTURES / "ids.json").read_text()), ids=lambda case: repr(case["id"]))
def test_ids(case):
    assert is_valid_project_id(case["id"]) is case["valid"]
    if case["usable"]:
        validate_project_id(case["id"])
    else:
        with pytest.raises(SystemExit, match="invalid project id"):
            validate_project_id(case["id"])
