"""Commands, settings, wrappers, instructions and the configuration directory through the Python names."""

import json
import subprocess
from pathlib import Path

import pytest
from terok_executor.provider import agents, instructions, wrappers
from terok_executor.provider.providers import (
    CLIOverrides,
    OpenCodeProviderConfig,
    get_provider,
    resolve_provider_value,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "agents"


@pytest.mark.parametrize("row", json.loads((FIXTURES / "headless.json").read_text()), ids=lambda row: row["provider"])
def test_headless_commands(row):
    command = get_provider(row["provider"]).build_headless_command(
        timeout=row["timeout"], model=row["model"], max_turns=row["max_turns"]
    )
    assert command == row["command"]


def test_settings():
    fitted = get_provider("codex").apply_config({"max_turns": 30}, CLIOverrides(timeout=0))
    assert (fitted.max_turns, fitted.timeout) == (None, 0)
    assert "30 steps" in fitted.prompt_extra and isinstance(fitted.warnings, tuple)
    with pytest.raises(ValueError, match=r"claude.*max_turns"):
        get_provider("claude").apply_config({"max_turns": "x"})


def test_values_by_provider():
    marker = object()
    assert resolve_provider_value("a", {"a": marker}, "x") is marker
    assert resolve_provider_value("a", {"a": {"x": None, "_default": 0}}, "x") == 0
    assert resolve_provider_value("a", {}, "x") is None


def test_backend_variables():
    backend = OpenCodeProviderConfig("D", "https://h/v1", "p", "f", "X", ".x", "https://k")
    assert backend.to_env("my-x") == {
        "TEROK_OC_MY_X_BASE_URL": "https://h/v1",
        "TEROK_OC_MY_X_PREFERRED_MODEL": "p",
        "TEROK_OC_MY_X_FALLBACK_MODEL": "f",
        "TEROK_OC_MY_X_DISPLAY_NAME": "D",
        "TEROK_OC_MY_X_ENV_VAR_PREFIX": "X",
        "TEROK_OC_MY_X_CONFIG_DIR": ".x",
    }


def test_wrappers():
    with pytest.raises(ValueError, match="claude_wrapper_fn"):
        wrappers.generate_agent_wrapper(get_provider("claude"), False)
    text = wrappers.generate_all_wrappers(
        True, claude_wrapper_fn=lambda has: wrappers.claude_wrapper(wrappers.WrapperConfig(has, True))
    )
    assert "--agents" in text and "--append-system-prompt" in text
    assert subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True).stderr == b""


def test_instructions(tmp_path):
    bundled = instructions.bundled_default_instructions()
    assert len(bundled) > 100
    assert instructions.resolve_instructions({}, "claude") == bundled
    (tmp_path / "instructions.md").write_text("more\n")
    assert instructions.resolve_instructions({"instructions": "own"}, "claude", tmp_path) == "own\n\nmore"
    assert instructions.has_custom_instructions({}, tmp_path) and not instructions.has_custom_instructions({})


def test_config_directory(tmp_path):
    spec = agents.AgentConfigSpec(tmp_path, "t", [{"name": "a"}], ["a"], prompt="é", mounts_base=tmp_path / "m")
    assert spec.subagents == ({"name": "a"},) and spec.selected_agents == ("a",)
    path = agents.prepare_agent_config_dir(spec)
    assert path == tmp_path / "t" / "agent-config" and (path / "prompt.txt").read_text("utf-8") == "é"
    with pytest.warns(UserWarning, match="sub-agents"):
        agents.prepare_agent_config_dir(agents.AgentConfigSpec(tmp_path, "t", (), ("a",), None, "pi", mounts_base=tmp_path / "m"))
    with pytest.raises(SystemExit, match="nope"):
        agents.prepare_agent_config_dir(agents.AgentConfigSpec(tmp_path, "u", (), provider="nope", mounts_base=tmp_path))
    with pytest.raises(ValueError, match="mounts_base"):
        agents.prepare_agent_config_dir(agents.AgentConfigSpec(tmp_path, "u", ()))
    assert not (tmp_path / "u").exists()


def test_markdown_agents(tmp_path):
    file = tmp_path / "a.md"
    file.write_text("---\nname: a\n---\nDo it\n")
    assert agents.parse_md_agent(str(file)) == {"name": "a", "prompt": "Do it"}
    assert agents.parse_md_agent(str(tmp_path / "none")) == {}
