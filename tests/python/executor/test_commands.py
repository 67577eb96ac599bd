"""The verbs as data, and what they refuse before anything is started."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from terok_executor import AGENT_COMMANDS, COMMANDS, VAULT_COMMANDS

EXECUTOR = Path(sys.executable).parent / "terok-executor"
SANDBOX = Path(sys.executable).parent / "terok-sandbox"


def run(*argv, **env):
    full = {**os.environ, **{key: str(value) for key, value in env.items()}}
    return subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=full, timeout=60
    )


@pytest.fixture
def home(tmp_path):
    return {"HOME": tmp_path, "XDG_RUNTIME_DIR": tmp_path / "run", "TEROK_ROOT": tmp_path / "state", "XDG_CONFIG_HOME": ""}


def test_the_tree_is_the_one_callers_know():
    names = [node.name for node in AGENT_COMMANDS]
    assert names == ["run", "run-tool", "auth", "agents", "build", "setup", "uninstall", "list", "stop", "show-config", "acp"]
    assert VAULT_COMMANDS[0] is COMMANDS.find_at(("vault",)) is COMMANDS.find_at(("sandbox", "vault"))
    assert "cfg" in inspect.signature(COMMANDS.find_at(("run",)).handler).parameters


def test_the_quick_outline_and_the_tree_say_the_same(monkeypatch):
    from terok_executor import cli

    monkeypatch.setenv("COLUMNS", "100")
    assert cli._parser("").format_help() == cli._parser(None).format_help()
    for words, verb in [
        ([], ""), (["--raw", "-h", "run"], ""), (["--config", "run", "list"], "list"), (["--config=x", "logs"], "logs"),
        (["--conf", "x", "run"], None), (["nonsense"], None), (["--version"], None),
    ]:  # fmt: skip
        assert cli._asked(words) == verb, words


def test_help_and_lists_load_neither_the_tree_nor_the_data_classes(home):
    probe = "import sys; from terok_executor.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    told = run(sys.executable, "-c", probe + "print([m for m in ('dataclasses', 'shutil') if m in sys.modules])", **home)
    assert told.stdout.splitlines()[-1] == "[]", told.stdout + told.stderr


def test_every_declared_argument_reaches_its_handler():
    for path, node in COMMANDS.walk():
        if node.handler is None:
            continue
        parameters = inspect.signature(node.handler).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for argument in node.args:
            spelled = max(argument.name.split("/"), key=len).lstrip("-").replace("-", "_")
            assert takes_any or (argument.dest or spelled) in parameters, (path, argument.name)


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        ([], 1),
        (["--help"], 0),
        (["--version"], 0),
        (["agents"], 0),
        (["sandbox"], 0),
        (["no-such-verb"], 2),
        (["run"], 2),
        (["agents", "set", "nobody"], 2),
        (["run", "claude", "."], 1),
        (["run", "claude", ".", "-p", "x"], 3),
    ],
)
def test_exit_statuses(home, argv, status):
    done = run(EXECUTOR, *argv, **home)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "run-tool", "auth", "build", "setup", "uninstall", "list", "logs", "stop"])
def test_every_verb_has_help(home, verb):
    done = run(EXECUTOR, verb, "--help", **home)
    assert done.returncode == 0 and "usage:" in done.stdout


def test_sandbox_statuses(home):
    assert run(SANDBOX, **home).returncode == 1
    assert run(SANDBOX, "vault", **home).returncode == 0
    assert run(SANDBOX, "--version", **home).stdout.startswith("terok-sandbox 0.1.0")


def test_an_unknown_agent_lists_the_known_ones(home):
    done = run(EXECUTOR, "run", "nobody", ".", "-p", "x", "--no-preflight", **home)
    assert done.returncode == 1
    for name in ("claude", "codex", "opencode", "vibe"):
        assert name in done.stderr


@pytest.mark.parametrize("name", ["a/b", "..", "-x", "a b", "x" * 200])
def test_unsafe_container_names_leave_nothing_behind(home, tmp_path, name):
    done = run(EXECUTOR, "run", "claude", str(tmp_path), "-p", "x", "--no-preflight", f"--name={name}", **home)
    assert done.returncode == 1 and "container name" in done.stderr
    assert not list(tmp_path.rglob("*.json")) and not (tmp_path / "run").exists()


def test_setup_without_a_terminal_changes_nothing(home, tmp_path):
    done = run(EXECUTOR, "setup", "--no-images", **home)
    assert done.returncode == 1 and "--passphrase-tier" in done.stderr
    assert not (tmp_path / ".config/containers/containers.conf").exists()


def test_an_empty_key_is_refused(home):
    done = subprocess.run(
        [EXECUTOR, "auth", "claude", "--api-key", "-"],
        input="\n", capture_output=True, text=True, env={**os.environ, **{k: str(v) for k, v in home.items()}},
    )  # fmt: skip
    assert done.returncode == 1 and "empty" in done.stderr


def test_a_key_of_nobody_is_not_stored(home):
    done = run(EXECUTOR, "auth", "nobody", "--api-key", "sk-x", **home)
    assert done.returncode == 1 and "'nobody'" in done.stderr and "claude" in done.stderr and done.stdout == ""


def test_without_any_standard_input_a_login_ends_in_words(home):
    done = run("/bin/sh", "-c", f"exec {EXECUTOR} auth claude <&-", **home)
    assert done.returncode == 1 and "no key was given" in done.stderr and "Traceback" not in done.stderr


def test_stop_leaves_foreign_containers_alone(podman, home):
    podman.answer("container", "inspect", stdout='[{"Config": {"Labels": null}}]')
    done = run(EXECUTOR, "stop", "somebody-elses", **home)
    assert done.returncode == 1 and "not started by terok-executor" in done.stderr
    assert all(call[0] != "rm" for call in podman.calls)


def test_stop_of_an_unknown_container_is_no_failure(podman, home):
    podman.answer("container", "inspect", stderr="Error: no such container gone", code=125)
    done = run(EXECUTOR, "stop", "gone", **home)
    assert done.returncode == 0 and "not found" in done.stdout


def test_stop_takes_nothing_from_a_container_that_podman_cannot_tell_about(podman, home, tmp_path):
    sidecar = tmp_path / "state/sandbox/sidecar/busy.json"
    sidecar.parent.mkdir(parents=True)
    sidecar.write_text("{}")
    podman.answer("container", "inspect", stderr="Error: database is locked", code=125)
    done = run(EXECUTOR, "stop", "busy", **home)
    assert done.returncode == 1 and "database is locked" in done.stderr, done.stdout
    assert sidecar.exists()


def test_a_host_without_podman_is_told_what_is_missing(home, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(EXECUTOR, "setup", "--check", **home, PATH=tmp_path / "empty")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["podman", "supervisor", "agent"] and "not installed" in lines[0]


def test_ctrl_c_and_the_end_of_input_end_every_command_line_in_words(monkeypatch, capsys):
    from terok_util import ending

    def ended(error):
        def verb():
            raise error

        with pytest.raises(SystemExit) as left:
            ending.carry_out(verb)
        return left.value.code

    assert ended(KeyboardInterrupt()) == 130 and capsys.readouterr().err == "interrupted\n"
    assert "input ended" in ended(EOFError()) and ended(ValueError("why")) == "why" and ended(SystemExit(5)) == 5
    with pytest.raises(LookupError):
        ending.carry_out({}.popitem)
    monkeypatch.setenv("TEROK_DEBUG", "1")
    with pytest.raises(OSError, match="loud"):
        ending.carry_out(lambda: (_ for _ in ()).throw(OSError("loud")))


def test_a_raw_log_does_not_ignore_the_configuration():
    from terok_executor.cli import _parser

    namespace = _parser("logs").parse_args(["logs", "c", "--raw"])
    assert namespace.as_it_is and not namespace.raw


# holds: tool-credential-not-on-disk
def test_tool_gets_its_credential_outside_the_environment(tmp_path):
    from types import SimpleNamespace

    from terok_executor.container import plan, tool

    resources = SimpleNamespace(container_runtime_dir=tmp_path)
    assert tool.hand_over(resources, {}) == "" and not list(tmp_path.iterdir())
    text = tool.hand_over(resources, {"CODERABBIT_API_KEY": "it's real"})
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.env"]
    shell, option, script = plan.tool_command("coderabbit", ("review", "a b"), 60, text)
    assert (shell, option) == ("bash", "-lc") and "real" not in script
    assert script == f"init-ssh-and-repo.sh && {text} && timeout 60 coderabbit review 'a b'"
    assert plan.tool_command("t", (), 60)[2] == "init-ssh-and-repo.sh && timeout 60 t"
