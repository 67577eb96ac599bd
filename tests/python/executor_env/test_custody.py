"""What containers did with credentials, what they still hold, and what agents left in shared directories."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from terok_executor import cli as executor_cli
from terok_executor import paths
from terok_executor.credentials import auth
from terok_executor.credentials.leaks import mount_trees
from terok_sandbox import SandboxConfig
from terok_sandbox import cli as sandbox_cli
from terok_sandbox.vault.custody import audit_credentials, list_authenticated_agents, revoke_credentials
from test_env import private_host  # noqa: F401


@pytest.fixture
def cfg(private_host: None) -> SandboxConfig:  # noqa: F811
    return SandboxConfig()


def row(minute: int, **fields: object) -> dict[str, object]:
    line = {"ts": f"2026-01-01T00:{minute:02}:00+00:00", "scope": "p", "subject": "t", "provider": "claude"}
    return {**line, "method": "POST", "path": "/v1/messages", "status": 200, "outcome": "ok", "n": minute, **fields}


@pytest.fixture
def log(cfg: SandboxConfig) -> Path:
    """A log with one rotated part, lines of others, and lines that are none."""
    path = Path(cfg.credential_audit_log_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.1").write_text(json.dumps(row(1)) + "\n")
    lines = [
        row(2),
        row(3, subject="other"),
        row(4, provider="codex"),
        row(5, ts="yesterday"),
        row(6),
        row(7, scope="q"),
    ]
    path.write_text("\n".join([*map(json.dumps, lines), "[1]", "{half", ""]))
    return path


def numbers(**wishes: object) -> list[object]:
    return [found["n"] for found in audit_credentials("p", "t", **wishes)]  # type: ignore[arg-type]


def test_the_log_of_one_task(log: Path) -> None:
    assert numbers() == [1, 2, 4, 5, 6]
    assert numbers(provider="claude") == [1, 2, 5, 6]
    assert numbers(since=datetime(2026, 1, 1, 0, 4, tzinfo=UTC)) == [4, 5, 6]
    assert numbers(tail=2) == [5, 6] and numbers(tail=0) == numbers()
    found = audit_credentials("p", "t", since=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="offset-aware"):
        next(found)


def test_there_may_be_no_log(cfg: SandboxConfig) -> None:
    assert numbers() == []


def test_logins_and_revocation(cfg: SandboxConfig) -> None:
    for name in ("vibe", "claude"):
        auth.store_api_key(name, "sk-real")
    assert list_authenticated_agents() == ["claude", "vibe"] and list_authenticated_agents(scope="mine") == []
    db = cfg.open_credential_db()
    try:
        for subject in ("t", "t", "u"):
            token = db.create_token("p", subject, "default", "claude")
        assert (revoke_credentials("p", "t"), revoke_credentials("p", "t")) == (2, 0)
        assert [left["token"] for left in db.list_tokens()] == [token]
    finally:
        db.close()


@pytest.mark.parametrize("main", [executor_cli.main, sandbox_cli.main])
def test_the_verbs(main, cfg: SandboxConfig, log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["vault", "audit", "p", "t", "--tail", "1"])
    assert capfd.readouterr().out == "2026-01-01T00:06:00+00:00  claude  POST  /v1/messages  200  ok  -\n"
    main(["vault", "audit", "p", "t", "--provider", "codex", "--since", "2025-12-31", "--json"])
    assert json.loads(capfd.readouterr().out)["n"] == 4
    with pytest.raises(SystemExit, match="cannot read the time"):
        main(["vault", "audit", "p", "t", "--since", "soon"])
    auth.store_api_key("claude", "sk-real")
    main(["vault", "revoke", "p", "t"])
    assert "revoked 0 token(s)" in capfd.readouterr().out


class TestClean:
    @pytest.fixture
    def tree(self, cfg: SandboxConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
        """A leak in the host's own tree and one in a project's, in a place that the configuration names."""
        monkeypatch.delenv("TEROK_SANDBOX_LIVE_DIR")
        config = tmp_path / "config.yml"
        config.write_text(config.read_text() + f"paths:\n  sandbox_live_dir: {tmp_path}/mine\n")
        found = {
            "claude": tmp_path / "mine/mounts/_claude-config/.credentials.json",
            "vibe": tmp_path / "XDG_CONFIG_HOME/terok/projects/p/mounts/_vibe-config/.env",
        }
        for path in found.values():
            path.parent.mkdir(parents=True)
            path.write_text('{"claudeAiOauth": {"accessToken": "sk-ant-real"}}')
        return found

    def test_every_tree_is_cleaned(self, tree: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
        assert paths.mounts_dir() == tree["claude"].parents[1] and len(mount_trees()) == 2
        executor_cli.main(["vault", "clean"])
        out = capfd.readouterr().out
        assert all(not path.exists() and str(path) in out for path in tree.values())
        executor_cli.main(["vault", "clean"])
        assert "No leaked" in capfd.readouterr().out

    def test_an_exposed_login_stays_unless_forced(
        self, tree: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "config.yml"
        exposed = "experimental: true\nagent:\n  claude:\n    expose_oauth_token: true\n"
        config.write_text(config.read_text() + exposed)
        executor_cli.main(["vault", "clean"])
        assert tree["claude"].exists() and not tree["vibe"].exists() and "--force" in capfd.readouterr().out
        executor_cli.main(["vault", "clean", "--force"])
        assert not tree["claude"].exists()
