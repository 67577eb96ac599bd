"""The model server as a process: keys, log, streaming, faults, and the real agent programs.

The agent programs are taken from PATH, or from `$TEROK_TEST_CLI/node_modules/.bin`; where one is
not installed its test is skipped with that reason.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "fakes" / "model_server.py"
KEY = "sk-real-3f9c"
STEPS = [
    {"tool": "read", "path": "greet.py", "say": "Looking."},
    {"tool": "edit", "path": "greet.py", "old": "helo", "new": "hello"},
    {"tool": "shell", "command": "git diff --stat > stat.txt"},
    {"say": "Spelled right now."},
]
TOOLS = [{"name": "Read", "input_schema": {"properties": {"file_path": {}}}}]


class Service:
    """A running server; `records()` is its request log."""

    def __init__(self, folder: Path, steps: list[dict], *options: str):
        self.folder = folder
        (folder / "script.json").write_text(json.dumps({"steps": steps}))
        (folder / "key").write_text(KEY + "\n")
        self.log = folder / "log.jsonl"
        self.process = subprocess.Popen(
            [
                sys.executable,
                SERVER,
                "--script",
                folder / "script.json",
                "--log",
                self.log,
                "--port-file",
                folder / "port.json",
                *options,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = json.loads(self.process.stdout.readline())
        self.url = self.address["url"]

    def ask(self, method="POST", path="/v1/messages", body=None, **headers):
        link = http.client.HTTPConnection("127.0.0.1", self.address["port"], timeout=10)
        link.request(method, path, body and json.dumps(body), headers)
        answer = link.getresponse()
        return answer.status, answer.read()

    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)


@pytest.fixture
def serve(tmp_path):
    running = []

    def start(steps=STEPS, *options):
        running.append(Service(tmp_path, steps, *options))
        return running[-1]

    yield start
    for service in running:
        assert service.stop() == 0


def question(stream: bool = False) -> dict:
    return {
        "model": "m",
        "stream": stream,
        "tools": TOOLS,
        "messages": [{"role": "user", "content": "go"}],
    }


def test_announces_its_address_on_stdout_and_in_the_port_file(serve, tmp_path):
    service = serve()
    assert json.loads((tmp_path / "port.json").read_text()) == service.address
    assert service.address["pid"] == service.process.pid
    assert service.ask("GET", "/")[0] == 200


@pytest.mark.parametrize(
    ("headers", "status", "state"),
    [
        ({"x-api-key": KEY}, 200, "accepted"),
        ({"authorization": f"Bearer {KEY}"}, 200, "accepted"),
        ({"x-api-key": KEY, "authorization": "Bearer terok-p-0"}, 401, "refused"),
        ({"x-api-key": "terok-p-0"}, 401, "refused"),
        ({}, 401, "absent"),
    ],
)
def test_only_the_required_key_opens_and_it_never_reaches_the_log(
    serve, tmp_path, headers, status, state
):
    service = serve(STEPS, "--require-key-file", str(tmp_path / "key"))
    assert service.ask(body=question(), **headers)[0] == status
    (record,) = service.records()
    assert (record["status"], record["key"]) == (status, state)
    assert KEY not in service.log.read_text()


def test_log_holds_the_whole_request(serve):
    service = serve()
    service.ask(path="/v1/messages?beta=true", body=question(), **{"X-Probe": "Yes"})
    (record,) = service.records()
    assert (record["method"], record["path"], record["query"]) == (
        "POST",
        "/v1/messages",
        "beta=true",
    )
    assert record["headers"]["x-probe"] == "Yes"
    assert record["body"] == question()
    assert (record["step"], record["side"]) == (0, False)
    assert service.log.stat().st_mode & 0o777 == 0o600


def test_streams_events_that_end_properly(serve):
    status, raw = serve().ask(body=question(stream=True))
    names = [line[7:] for line in raw.decode().splitlines() if line.startswith("event: ")]
    assert status == 200
    assert (names[0], names[-1]) == ("message_start", "message_stop")


def test_scripted_faults_a_status_and_a_cut_stream(serve):
    assert serve([{"status": 529}]).ask(body=question())[0] == 529
    with pytest.raises(http.client.IncompleteRead):
        serve([{"say": "long answer", "cut": 3}]).ask(body=question(stream=True))


def test_websocket_probe_is_turned_away_with_426(serve):
    headers = {"connection": "Upgrade", "upgrade": "websocket"}
    assert serve().ask("GET", "/v1/responses", None, **headers)[0] == 426


def test_furniture_and_unknown_paths(serve):
    service = serve()
    assert json.loads(service.ask(path="/v1/messages/count_tokens", body={})[1])["input_tokens"] > 0
    assert json.loads(service.ask("GET", "/v1/models")[1])["data"]
    assert service.ask("GET", "/nothing")[0] == 404


def test_a_bad_script_ends_with_a_named_cause(tmp_path):
    (tmp_path / "s.json").write_text('{"steps": [{"tool": "dance"}]}')
    done = subprocess.run(
        [sys.executable, SERVER, "--script", tmp_path / "s.json"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown tool `dance`" in done.stderr


def claude(url: str, home: Path) -> tuple[list[str], dict]:
    return (
        ["-p", "fix it", "--permission-mode", "bypassPermissions"],
        {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": KEY,
            "IS_SANDBOX": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
    )


def codex(url: str, home: Path) -> tuple[list[str], dict]:
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(
        f'openai_base_url = "{url}/v1"\n[analytics]\nenabled = false\n'
    )
    return (
        ["exec", "--dangerously-bypass-approvals-and-sandbox", "fix it"],
        {"CODEX_API_KEY": KEY},
    )


def opencode(url: str, home: Path) -> tuple[list[str], dict]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "models": {"m": {"name": "m", "tool_call": True}},
        "options": {"baseURL": f"{url}/v1", "apiKey": "{env:OC_KEY}"},
    }
    (home / ".config/opencode").mkdir(parents=True)
    (home / ".config/opencode/opencode.json").write_text(
        json.dumps(
            {
                "model": "s/m",
                "small_model": "s/m",
                "autoupdate": False,
                "share": "disabled",
                "permission": {"*": "allow"},
                "enabled_providers": ["s"],
                "provider": {"s": provider},
            }
        )
    )
    return (
        ["run", "fix it"],
        {"OC_KEY": KEY, "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
    )


@pytest.mark.parametrize("agent", [claude, codex, opencode], ids=lambda agent: agent.__name__)
def test_the_real_program_edits_a_file(serve, tmp_path, agent):
    extra = os.environ.get("TEROK_TEST_CLI", "/nonexistent") + "/node_modules/.bin"
    program = shutil.which(agent.__name__, path=f"{os.environ['PATH']}:{extra}")
    if program is None:
        pytest.skip(f"{agent.__name__} is not on PATH and not in $TEROK_TEST_CLI")
    home, repo = tmp_path / "home", tmp_path / "repo"
    home.mkdir()
    repo.mkdir()
    subprocess.run(["git", "init", "-q", repo], check=True)
    (repo / "greet.py").write_text("helo\n")
    subprocess.run(["git", "-C", repo, "add", "."], check=True)
    service = serve(STEPS, "--require-key-file", str(tmp_path / "key"))
    argv, env = agent(service.url, home)
    done = subprocess.run(
        [program, *argv],
        cwd=repo,
        timeout=120,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **env},
    )
    assert done.returncode == 0, done.stderr
    assert "Spelled right now." in done.stdout
    assert (repo / "greet.py").read_text() == "hello\n"
    assert "greet.py" in (repo / "stat.txt").read_text()
    assert [r["step"] for r in service.records() if r.get("side") is False] == [0, 1, 2, 3]
