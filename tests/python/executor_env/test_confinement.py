"""What a launch writes into the sidecar so that a container's supervisor serves this container and no other."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from terok_executor.container import launching, minted
from terok_executor.container.env import assemble_container_env
from terok_executor.credentials import auth
from terok_executor.roster import AgentRoster, load_roster
from terok_sandbox import PerContainerResources, SandboxConfig, VolumeSpec
from test_env import private_host, spec  # noqa: F401


@pytest.fixture
def cfg(private_host: None) -> SandboxConfig:  # noqa: F811
    return SandboxConfig()


def written(cfg: SandboxConfig, env: dict[str, str], **members: Any) -> dict[str, Any]:
    tcp = cfg.services_mode == "tcp"
    resources = PerContainerResources(Path(cfg.runtime_dir), *((1, 2, 3) if tcp else (None,) * 3))
    given = {"project_id": "", "task_id": "", "dossier_path": None, "shared_logins": ()} | members
    return json.loads(launching._write_sidecar(cfg, "c1", resources, env, **given).read_text())


# improves: 21-5.12-markers-scoped
def test_a_standalone_run_is_bound_to_its_own_tokens(tmp_path, cfg: SandboxConfig) -> None:
    auth.store_api_key("claude", "sk-ant-real")
    env = assemble_container_env(spec(tmp_path, task_id="run1"), load_roster()).env
    told = written(cfg, env)
    assert (told["project_id"], told["task_id"]) == ("", "")
    assert (told["token_scope"], told["token_subject"], told["credential_set"]) == ("standalone", "run1", "default")
    assert minted.binding_of(env) is None, "a token is forgotten once it was launched with"


def test_tokens_that_this_process_does_not_know_bind_nothing(cfg: SandboxConfig) -> None:
    told = written(cfg, {"ANTHROPIC_API_KEY": "terok-p-" + "0" * 32}, project_id="p", task_id="t")
    assert not {"token_scope", "token_subject", "credential_set"} & set(told)


def test_tokens_of_two_tasks_bind_nothing() -> None:
    for task in "ab":
        minted.remember(f"terok-p-{task}", minted.Binding("p", task, "default"))
    assert minted.binding_of({"A": "terok-p-a", "B": "terok-p-b", "C": "x"}) is None


# improves: 21-5.12-markers-scoped
def test_shared_logins_are_those_whose_file_is_mounted(tmp_path, cfg: SandboxConfig) -> None:
    roster = load_roster()
    every = assemble_container_env(spec(tmp_path), roster).volumes
    assert launching.shared_logins(roster, every) == ("claude", "codex")
    one = assemble_container_env(spec(tmp_path, installed=frozenset({"claude"})), roster).volumes
    assert launching.shared_logins(roster, one) == ("claude",)
    exposed = spec(tmp_path, expose_credential_providers=frozenset({"claude"}))
    assert launching.shared_logins(roster, assemble_container_env(exposed, roster).volumes) == ("codex",)
    assert launching.shared_logins(roster, [VolumeSpec(tmp_path, "/workspace")]) == ()
    assert written(cfg, {}, shared_logins=("codex",))["shared_logins"] == ["codex"]
    assert written(cfg, {})["shared_logins"] == []


@pytest.mark.parametrize("mode", ["socket", "tcp"])
def test_the_gate_of_a_sidecar(cfg: SandboxConfig, mode: str) -> None:
    cfg = dataclasses.replace(cfg, services_mode=mode)
    env = {"CODE_REPO": "http://terok-g-1@localhost:9418/app-1.git", "TEROK_GATE_TOKEN": "terok-g-1"}
    told = written(cfg, env)
    expected = {"gate_base_path": str(cfg.gate_base_path), "gate_token": "terok-g-1", "gate_scope": "app-1"}
    assert expected.items() <= told.items() and told.get("gate_port") == (3 if mode == "tcp" else None)
    given = launching._with_sockets(env)
    assert given["TEROK_GATE_SOCKET"] == "/run/terok/gate-server.sock" and "TEROK_GATE_SOCKET" not in env
    assert "TEROK_GATE_SOCKET" not in launching._with_sockets({"A": "1"})


def test_routes_follow_the_roster_on_disk_at_every_launch(tmp_path, cfg: SandboxConfig, monkeypatch, capfd) -> None:
    path, user = Path(cfg.routes_path), tmp_path / "agents"
    monkeypatch.setattr("terok_executor.roster.loader._user_agents_dir", lambda: user)
    launching._refresh_routes(cfg)
    first = path.stat()
    assert first.st_mode & 0o777 == 0o600
    launching._refresh_routes(cfg)
    assert path.stat().st_ino == first.st_ino, "an equal table is left as it is"
    path.write_text("{}\n")
    launching._refresh_routes(cfg)
    assert json.loads(path.read_text())["claude"]["upstream"] == "https://api.anthropic.com"
    user.mkdir()
    (user / "claude.yaml").write_text("vault:\n  upstream: http://127.0.0.1:1\n")
    launching._refresh_routes(cfg)
    assert json.loads(path.read_text())["claude"]["upstream"] == "http://127.0.0.1:1"
    path.chmod(0o644)
    launching._refresh_routes(cfg)
    assert path.stat().st_mode & 0o777 == 0o600

    def refused(*_args: object, **_options: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(AgentRoster, "ensure_vault_routes", refused)
    launching._refresh_routes(cfg)
    assert "Warning [vault]" in capfd.readouterr().err and os.path.exists(path)
