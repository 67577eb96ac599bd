"""API keys, the prompt for them, and the health checks of a container."""

import io
from types import SimpleNamespace

import pytest
from terok_executor.acp import acp_socket_is_live
from terok_executor.credentials import auth
from terok_executor.roster import load_roster

PHANTOM = "terok-p-" + "0" * 32


def test_directories_are_one_segment():
    for bad in ("/abs", "a/b", "..", ".", ""):
        with pytest.raises(ValueError, match="segment"):
            auth.AuthProvider("n", "N", bad, "/m", [], "")
    entry = auth.AuthProvider("n", "N", "_n", "/m", [], "")
    assert entry.supports_api_key and not entry.supports_oauth


def test_keys_are_read_from_a_pipe(monkeypatch, capsys):
    stored = []
    monkeypatch.setattr(auth, "store_api_key", lambda *args: stored.append(args))
    monkeypatch.setattr("sys.stdin", io.StringIO(" key \n"))
    auth.Authenticator("vibe").run(None, mounts_dir=None, credential_set="s")
    assert stored == [("vibe", "key", "s")]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(SystemExit, match="no key"):
        auth.Authenticator("vibe").run(None, mounts_dir=None)
    assert "console.mistral.ai" in capsys.readouterr().out


def test_the_answer_to_the_menu_is_no_key(monkeypatch, capsys):
    claude, nobody = auth.AUTH_PROVIDERS["claude"], auth.AUTH_PROVIDERS["kisski"]
    assert claude.supports_oauth and not nobody.supports_oauth
    for given, entry, key in (("2\nsk-x\n", claude, "sk-x"), ("sk-x\n", claude, "sk-x"), ("2\nsk-x\n", nobody, "2")):
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        assert auth._ask_key(entry) == key
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n"))
    with pytest.raises(SystemExit, match="in a browser"):
        auth._ask_key(claude)


def test_what_cannot_be_authenticated():
    with pytest.raises(SystemExit, match=r"Unknown auth provider.*claude"):
        auth.Authenticator("nope").run(None, mounts_dir=None)
    with pytest.raises(SystemExit, match="api-key"):
        auth.Authenticator("claude").prepare_oauth(None, mounts_dir=None, image="i")


def test_key_commands_quote_everything():
    command = auth.api_key_command(auth.AuthKeyConfig("L'", "https://k", "K", "~/.x/y", '{"k": "%s"}', "t"))
    assert command[:2] == ["bash", "-c"] and "'\"'\"'" in command[2] and '"$HOME"/.x/y' in command[2]


@pytest.mark.parametrize(
    ("label", "result", "severity"),
    [
        ("Phantom token (ANTHROPIC_API_KEY)", (0, PHANTOM, ""), "ok"),
        ("Phantom token (ANTHROPIC_API_KEY)", (1, "", ""), "warn"),
        ("Phantom token (ANTHROPIC_API_KEY)", (0, "sk-ant-x", ""), "error"),
        ("Phantom token (ANTHROPIC_API_KEY)", (0, "other", ""), "warn"),
        ("Base URL (ANTHROPIC_BASE_URL)", (0, "http://localhost:9419", ""), "ok"),
        ("Base URL (ANTHROPIC_BASE_URL)", (0, "https://api.anthropic.com", ""), "error"),
        ("Credential file (claude)", (1, "", "cat: x: No such file or directory"), "ok"),
        ("Credential file (claude)", (1, "", "Permission denied"), "warn"),
        ("Credential file (claude)", (0, '{"t": "sk-ant-x"}', ""), "error"),
        ("Credential file (claude)", (0, "", ""), "ok"),
        ("SSH agent bridge (socat)", (1, "", ""), "error"),
    ],
)
@pytest.mark.parametrize("port", [None, 18731])
def test_health_checks(label, result, severity, port):
    checks = {check.label: check for check in load_roster().doctor_checks(token_broker_port=port)}
    assert checks[label].evaluate(*result).severity == severity
    assert [c.category for c in checks.values()] == sorted((c.category for c in checks.values()), key=["bridge", "mount", "env"].index)


def test_nobody_answers_on_an_absent_socket(tmp_path):
    assert not acp_socket_is_live(tmp_path / "s")
    (tmp_path / "f").touch()
    assert not acp_socket_is_live(tmp_path / "f")


def test_routes_need_no_configuration(tmp_path):
    assert load_roster().ensure_vault_routes(SimpleNamespace(routes_path=tmp_path / "r.json")).is_file()
