"""The pydantic models, and that engine and models agree on the sections both know."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from terok_executor.config import writable_config_path
from terok_executor.config_schema import ExecutorConfigView, RawImageSection
from terok_native import _lib
from terok_sandbox import RawRunSection, SandboxConfigView

CASES = json.loads((Path(__file__).parents[2] / "fixtures/config/section_cases.json").read_text())
MODELS = {name: field.annotation for name, field in SandboxConfigView.model_fields.items() if name != "experimental"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['section']}-{json.dumps(case['raw'])}")
def test_sections(case):
    model = MODELS[case["section"]]
    if "accepted" in case:
        assert case["accepted"].items() <= model.model_validate(case["raw"]).model_dump().items()
    else:
        with pytest.raises(ValidationError) as refused:
            model.model_validate(case["raw"])
        assert case["reason"] in str(refused.value)


def test_engine_and_models_know_the_same_members():
    for name in _lib.base_setting_names():
        assert _lib.base_setting_defaults(name) == MODELS[name]().model_dump(), name


@pytest.mark.parametrize("value", ["4g", "4G", "4gb", "4gib", "4 G", "512m", "1024", "4.5g", "0", "4i", "4b"])
def test_memory(value):
    assert RawRunSection(memory=value).memory == value


@pytest.mark.parametrize("value", [" 4g", "4g ", "-1", ".5g", "4x", "4gbb", True, [1]])
def test_bad_memory(value):
    with pytest.raises(ValidationError, match="memory"):
        RawRunSection(memory=value)


@pytest.mark.parametrize(
    ("value", "kept"), [("2", "2"), ("2.0", "2.0"), ("0", "0"), (0.5, "0.5"), (2, "2"), ("", None), (None, None)]
)
def test_cpus(value, kept):
    assert RawRunSection(cpus=value).cpus == kept


@pytest.mark.parametrize("value", [".5", "2.", "-1", "1e3", " 2", False])
def test_bad_cpus(value):
    with pytest.raises(ValidationError, match="cpus"):
        RawRunSection(cpus=value)


@pytest.mark.parametrize(("value", "kept"), [(1, True), (0, False), ("true", "true"), ("all", "all"), (None, None)])
def test_gpus(value, kept):
    found = RawRunSection(gpus=value).gpus
    assert found == kept and type(found) is type(kept)


def test_runtime_and_hooks():
    assert RawRunSection(hooks=None).hooks.pre_start is None
    with pytest.raises(ValidationError):
        RawRunSection(runtime="podman")
    with pytest.raises(ValidationError):
        RawRunSection(hooks={"pre": "x"})


def test_the_view_leaves_foreign_sections_to_others():
    assert SandboxConfigView.model_validate({"tui": {"x": 1}}).model_dump()["tui"] == {"x": 1}
    with pytest.raises(ValidationError):
        SandboxConfigView.model_validate({"paths": {"rooot": "x"}})
    with pytest.raises(ValidationError):
        SandboxConfigView.model_validate({"paths": None})

    class Strict(ExecutorConfigView, extra="forbid"):
        pass

    with pytest.raises(ValidationError):
        Strict.model_validate({"tui": {}})
    assert Strict().image == RawImageSection() and Strict().image.base_image == "fedora:44"


def test_image_section():
    assert all(field.description for field in RawImageSection.model_fields.values())
    for bad in ({"base_image": None}, {"family": "apk"}, {"x": 1}):
        with pytest.raises(ValidationError):
            RawImageSection.model_validate(bad)


@pytest.mark.parametrize(
    ("text", "agents", "base"),
    [
        ("", None, None),
        ("image: {agents: all, base_image: debian:13}", "all", "debian:13"),
        ("image: {agents: ''}", None, None),
        ("image: {agents: [claude, codex]}", "claude,codex", None),
        ("image: {agents: 5, x: 1}", None, None),
        ("image: {agents: {a: 1}}", None, None),
        ("image: all", None, None),
        ("image: [", None, None),
    ],
)
def test_reading_the_image_section(configure, text, agents, base):
    configure(text)
    assert (ExecutorConfigView.image_agents(), ExecutorConfigView.image_base_image()) == (agents, base)


def test_writing_the_selection(home, monkeypatch):
    path = home / ".config/terok/config.yml"
    assert ExecutorConfigView.image_agents() is None
    assert ExecutorConfigView.set_image_agents("all,-vibe") == path == writable_config_path()
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert ExecutorConfigView.image_agents() == "all,-vibe"
    path.write_text("# mine\nimage:\n  base_image: 'debian:13' # keep\n  agents: old\nz: \"1\"\n")
    ExecutorConfigView.set_image_agents("claude")
    assert path.read_text() == "# mine\nimage:\n  base_image: 'debian:13' # keep\n  agents: claude\nz: \"1\"\n"
    path.write_text("- no mapping\n")
    with pytest.raises(ValueError, match=r"config\.yml"):
        ExecutorConfigView.set_image_agents("claude")
    assert path.read_text() == "- no mapping\n"
    monkeypatch.setenv("TEROK_CONFIG_FILE", "~/other.yml")
    assert writable_config_path() == home / "other.yml"
