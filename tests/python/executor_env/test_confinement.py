"""What a launch writes into the sidecar so that a container's supervisor serves this container and no other."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from terok_executor.container import context, launching
from terok_executor.container.build import BuildError
from terok_executor.container.context import GateGrant, LaunchContext, TokenBinding
from terok_executor.container.env import ContainerEnvResult, assemble_container_env
from terok_executor.credentials import auth
from terok_executor.roster import load_roster
from terok_sandbox import PerContainerResources, SandboxConfig, VolumeSpec
from test_env import private_host, spec  # noqa: F401


@pytest.fixture
def cfg(private_host: None) -> SandboxConfig:  # noqa: F811
    return SandboxConfig()


def resolved(cfg: SandboxConfig, env: dict[str, str], given: LaunchContext | None = None) -> LaunchContext:
    return context.resolve(given, env, (), cfg=cfg, roster=load_roster())


def written(cfg: SandboxConfig, granted: LaunchContext, **members: Any) -> dict[str, Any]:
    tcp = cfg.services_mode == "tcp"
    resources = PerContainerResources(Path(cfg.runtime_dir), *((1, 2, 3) if tcp else (None,) * 3))
    given = {"project_id": "", "task_id": "", "dossier_path": None} | members
    return json.loads(launching._write_sidecar(cfg, "c1", resources, granted, **given).read_text())


def assembled(tmp_path: Path, task: str, **fields: Any) -> ContainerEnvResult:
    return assemble_container_env(spec(tmp_path, task_id=task, **fields), load_roster())


# improves: 21-5.12-markers-scoped
# holds: token-of-one-container
def test_context_binds_a_standalone_run_to_its_own_tokens(tmp_path, cfg: SandboxConfig, monkeypatch) -> None:
    auth.store_api_key("claude", "sk-ant-real")
    made = assembled(tmp_path, "run1")
    assert made.context.binding == TokenBinding("standalone", "run1", "default")
    assert made.context.tokens == (made.env["ANTHROPIC_API_KEY"],)
    monkeypatch.setattr(SandboxConfig, "open_credential_db", lambda *_: pytest.fail("the context says it all"))
    # The same values serve a second launch as well.
    for _ in range(2):
        told = written(cfg, resolved(cfg, dict(made.env), made.context))
        assert (told["project_id"], told["task_id"]) == ("", "")
        assert (told["token_scope"], told["token_subject"], told["credential_set"]) == ("standalone", "run1", "default")


# holds: unbound-token-refused
def test_environment_of_another_process_is_bound_by_the_vault(tmp_path, cfg: SandboxConfig) -> None:
    auth.store_api_key("claude", "sk-ant-real")
    env = assembled(tmp_path, "run1").env
    code = (
        "import json, sys; from terok_executor.container import context; from terok_executor.roster import load_roster;"
        "from terok_sandbox import SandboxConfig;"
        "print(context.resolve(None, json.load(sys.stdin), (), cfg=SandboxConfig(), roster=load_roster()).binding)"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, input=json.dumps(env), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "TokenBinding(scope='standalone', subject='run1', credential_set='default')"


# holds: unbound-token-refused
def test_token_without_an_owner_is_refused(tmp_path, cfg: SandboxConfig, monkeypatch) -> None:
    auth.store_api_key("claude", "sk-ant-real")
    one, other = (assembled(tmp_path, task) for task in ("run1", "run2"))
    mine, theirs = (made.env["ANTHROPIC_API_KEY"] for made in (one, other))
    for env, given, why in [
        ({"A": "terok-p-" + "0" * 32}, None, "variable `A`"),
        ({"A": mine, "B": f"x {theirs}"}, None, "`A` and `B`"),
        ({"A": mine, "B": theirs}, one.context, "`A` and `B`"),
        ({"A": theirs}, one.context, "its launch context does not name"),
    ]:
        with pytest.raises(BuildError, match=re.escape(why)) as caught:
            resolved(cfg, env, given)
        assert "terok-p-" not in str(caught.value) and "hint: " in str(caught.value)
    assert resolved(cfg, {"A": "plain"}).binding is None
    assert resolved(cfg, {"A": mine}, LaunchContext()).binding == TokenBinding("standalone", "run1", "default")

    def locked(_self: SandboxConfig) -> None:
        raise RuntimeError("the vault is locked")

    monkeypatch.setattr(SandboxConfig, "open_credential_db", locked)
    with pytest.raises(BuildError, match="the vault is locked\nhint: unlock"):
        resolved(cfg, {"A": mine})


def test_restriction_is_lifted_only_when_context_and_caller_agree(cfg: SandboxConfig) -> None:
    for given, asked in [(True, True), (True, False), (False, True), (False, False)]:
        found = context.resolve(
            LaunchContext(unrestricted=given), {}, (), cfg=cfg, roster=load_roster(), unrestricted=asked
        )
        assert found.unrestricted == (given and asked)


# improves: 21-5.12-markers-scoped
def test_shared_logins_are_those_whose_file_is_mounted(tmp_path, cfg: SandboxConfig) -> None:
    roster = load_roster()
    every = assemble_container_env(spec(tmp_path), roster).volumes
    assert context.shared_logins(roster, every) == ("claude", "codex")
    one = assemble_container_env(spec(tmp_path, installed=frozenset({"claude"})), roster).volumes
    assert context.shared_logins(roster, one) == ("claude",)
    exposed = spec(tmp_path, expose_credential_providers=frozenset({"claude"}))
    assert context.shared_logins(roster, assemble_container_env(exposed, roster).volumes) == ("codex",)
    assert context.shared_logins(roster, [VolumeSpec(tmp_path, "/workspace")]) == ()
    assert assemble_container_env(exposed, roster).context.shared_logins == ("codex",)
    for logins in [("codex",), ()]:
        assert written(cfg, LaunchContext(shared_logins=logins))["shared_logins"] == list(logins)
    # Nothing says which of several sets the logins would be read from.
    both = LaunchContext(binding=TokenBinding("p", "t", ""), shared_logins=("codex",))
    assert resolved(cfg, {}, both).shared_logins == ()


@pytest.mark.parametrize("mode", ["socket", "tcp"])
def test_the_gate_of_a_sidecar(cfg: SandboxConfig, mode: str) -> None:
    cfg = dataclasses.replace(cfg, services_mode=mode)
    env = {"CODE_REPO": "http://terok-g-1@localhost:9418/app-1.git", "TEROK_GATE_TOKEN": "terok-g-1"}
    told = written(cfg, resolved(cfg, env))
    assert told == written(cfg, resolved(cfg, env, LaunchContext(gate=GateGrant("app-1", "terok-g-1"))))
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

    monkeypatch.setattr("terok_executor.roster.loader._write_routes", refused)
    launching._refresh_routes(cfg)
    assert "Warning [vault]" in capfd.readouterr().err and os.path.exists(path)
