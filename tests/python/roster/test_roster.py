"""The roster as Python sees it: values, selection, user files, shared tables."""

import dataclasses
import json
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import terok_executor
from terok_executor.provider import providers
from terok_executor.roster import AgentRoster, load_roster, loader
from terok_executor.roster.schema import RawAgentYaml

FIXTURES = Path(__file__).parents[2] / "fixtures" / "agents"


@pytest.fixture
def user_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "_user_agents_dir", lambda: tmp_path)
    return tmp_path


def test_values_agree_with_the_table(user_dir):
    roster = load_roster()
    for table, entries in json.loads((FIXTURES / "bundled.json").read_text()).items():
        for name, fields in entries.items():
            have = json.loads(json.dumps(dataclasses.asdict(getattr(roster, table)[name])))
            assert {key: have[key] for key in fields} == fields, (table, name)


def test_threads_that_ask_first_together_get_one_roster(user_dir, monkeypatch):
    monkeypatch.setattr(loader, "_shared", None)
    together, found = threading.Barrier(8), []

    def ask():
        together.wait(30)
        found.append(AgentRoster.shared())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8 and len({id(roster) for roster in found}) == 1


def test_values_are_frozen_and_copies(user_dir):
    roster = load_roster()
    roster.providers.clear()
    assert len(roster.providers) == 9
    claude = roster.get_provider("claude")
    with pytest.raises(dataclasses.FrozenInstanceError):
        claude.name = "x"
    assert claude == dataclasses.replace(claude)
    with pytest.raises(TypeError):
        hash(claude)


def test_lookups(user_dir):
    roster = load_roster()
    assert roster.get_provider("", default_agent="codex").name == "codex"
    assert roster.get_provider(None).name == "claude"
    assert roster.get_sidecar_spec("coderabbit").env_map == {"CODERABBIT_API_KEY": "key"}
    for call, text in [
        (lambda: roster.get_provider("nope"), "vibe"),
        (lambda: roster.get_auth_provider("pi"), "Unknown auth provider"),
        (lambda: roster.get_sidecar_spec("claude"), "No sidecar config"),
    ]:
        with pytest.raises(SystemExit, match=text):
            call()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("toad", ("caddy", "toad")), ("blablador", ("blablador", "opencode")), ("blablador,-opencode", ("blablador",))],
)
def test_selection(user_dir, raw, expected):
    roster = load_roster()
    assert roster.resolve_selection(roster.parse_selection(raw)) == expected


def test_selection_errors(user_dir, capsys):
    roster = load_roster()
    assert AgentRoster.parse_selection(",,") == "all"
    assert "vibe" not in roster.resolve_selection(AgentRoster.parse_selection("-vibe"))
    with pytest.raises(TypeError, match="'all' or a tuple"):
        roster.resolve_selection("claude")
    for tokens in [("coderabbit",), ("-nope",)]:
        with pytest.raises(ValueError, match="Unknown roster entries:"):
            roster.resolve_selection(tokens)
    with pytest.raises(SystemExit) as ended:
        roster.validate_selection("nope")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("Invalid agent selection:")


def test_prompted_selection(user_dir, monkeypatch):
    roster = load_roster()
    monkeypatch.setattr("builtins.input", lambda _question: "  ")
    assert roster.prompt_selection() == "all"

    def end(_question):
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    with pytest.raises(SystemExit, match="argument"):
        roster.prompt_selection()


def test_a_broken_user_file_is_an_error_for_the_roster_alone(user_dir, capsys):
    (user_dir / "claude.yaml").write_text("lable: x\n")
    with pytest.raises(ValueError, match=r"invalid roster YAML.*claude") as caught:
        load_roster()
    assert str(user_dir / "claude.yaml") in str(caught.value)
    lenient = loader._load(strict=False)
    assert lenient.get_provider("claude").label == "Claude"
    assert "Warning [roster]" in capsys.readouterr().err


def test_a_broken_user_file_does_not_take_the_package_down(tmp_path):
    agents = tmp_path / "terok" / "agent" / "agents"
    agents.mkdir(parents=True)
    (agents / "claude.yaml").write_text("lable: x\n")
    code = (
        "from terok_executor.roster import loader; from pathlib import Path\n"
        f"loader._user_agents_dir = lambda: Path({str(agents)!r})\n"
        "import terok_executor; print(len(terok_executor.AGENT_PROVIDERS), terok_executor.AUTH_PROVIDERS['claude'].label)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "9 Claude\n"), done.stderr
    assert done.stderr.count("Warning [roster]") == 1


def test_listing_uses_the_merged_kind(user_dir):
    (user_dir / "kisski.yaml").write_text("label: Mine\n")
    rows = {row[0]: row for row in load_roster().listing(show_all=True)}
    assert rows["kisski"] == ("kisski", "Mine", "opencode")
    assert rows["gh"][2] == "tool" and "toad" not in rows


def test_routes_file(user_dir, tmp_path):
    path = tmp_path / "vault" / "routes.json"
    written = load_roster().ensure_vault_routes(SimpleNamespace(routes_path=path))
    text = path.read_text()
    path.write_text("{}")
    assert loader.refresh_vault_routes(SimpleNamespace(routes_path=path)) == written and path.read_text() == text
    assert written == path and stat.S_IMODE(path.stat().st_mode) == 0o600
    routes = json.loads(path.read_text())
    assert len(routes) == 10 and path.read_text().endswith("}\n")
    assert list(routes["claude"]) == [
        "upstream", "auth_header", "auth_prefix", "oauth_extra_headers", "oauth_refresh", "deny",
    ]  # fmt: skip
    assert list(path.parent.iterdir()) == [path]


def test_one_table_for_everybody():
    assert terok_executor.AGENT_PROVIDERS is providers.AGENT_PROVIDERS
    fake = object()
    with patch.dict(terok_executor.AGENT_PROVIDERS, {"fake": fake}):
        assert terok_executor.get_provider("fake") is fake
    with patch("terok_executor.provider.providers.AGENT_PROVIDERS", {"only": fake}):
        assert providers.get_provider("only") is fake
    assert terok_executor.get_provider("claude").name == "claude"
    assert list(terok_executor.AUTH_PROVIDERS) == sorted(terok_executor.AUTH_PROVIDERS)
    assert tuple(terok_executor.AGENT_PROVIDERS) == terok_executor.PROVIDER_NAMES


def test_the_published_format_takes_the_bundled_files():
    from terok_native import _lib

    resources = Path(terok_executor.__file__).parent / "resources" / "agents"
    for path in sorted(resources.glob("*.yaml")):
        data = _lib.base_yaml_parse(path.read_text())
        data.pop("roster_version", None)
        RawAgentYaml.model_validate(data)


def test_importing_loads_no_part_of_the_package():
    code = "import sys; old = set(sys.modules); import terok_executor; print(sorted(set(sys.modules) - old))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['terok_executor', 'terok_util', 'terok_util.lazy']"
