"""Toad's wrapper, its links, and the token gate with a real Caddy."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest
from container_box import REPOSITORY, RESOURCES

TOKEN = "T0ken_with-dash"
#: Where the page is, for holders of the token.
PAGE = "/t-" + hashlib.sha256(f"terok web path {TOKEN}".encode()).hexdigest()[:32]
ENV = {"TOAD_PUBLIC_PORT": "8080", "TOAD_INTERNAL_PORT": "8081"}
FAKE_TOAD = """#!/usr/bin/env python3
import http.server, os, sys
print("toad", *sys.argv[1:], "token" if "TOAD_TOKEN" in os.environ else "clean", flush=True)
if "--serve" in sys.argv:
    class S(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(b"toad " + self.path.encode())
        def log_message(self, *a): pass
    port = int(sys.argv[sys.argv.index("-p") + 1])
    http.server.HTTPServer(("127.0.0.1", port), S).serve_forever()
"""


@pytest.fixture
def toad_box(box):
    """A package `batrachian-toad` in a virtual environment of pipx's kind, with two agents of its own."""
    venv = box.base / "home/dev/.local/share/pipx/venvs/batrachian-toad"
    agents = venv / "lib/python3.14/site-packages/toad/data/agents"
    agents.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin/toad").write_text(FAKE_TOAD)
    (venv / "bin/toad").chmod(0o755)
    (agents / "claude.com.toml").write_text('identity = "claude.com"\nrun_command."*" = "claude-agent-acp"\n')
    (agents / "openai.com.toml").write_text('identity = "openai.com"\nrun_command."*" = "npx codex-acp"\n')
    shutil.copytree(RESOURCES / "toad-agents", box.base / "share/terok/toad-agents")
    (box.base / "terok/bin/terok-codex-acp").unlink()
    return box


def agents(box):
    return next((box.base / "home/dev").rglob("data/agents"))


def settings(box):
    return box.base / "home/dev/.config/toad/toad.json"


def test_wrapper_prepares_agents_and_settings(toad_box):
    toad_box.program("kisski-acp", "#!/bin/sh\n")
    kept = agents(toad_box) / "kisski.academiccloud.de.toml"
    kept.write_text('identity = "mine"\n')
    result = toad_box.run("toad", "--version")
    assert result.out == "toad --version clean\n", result.err
    read = {p.stem: tomllib.loads(p.read_text()) for p in agents(toad_box).iterdir()}
    assert read["claude.com"]["run_command"]["*"] == "terok-claude-acp"
    assert read["openai.com"]["run_command"]["*"] == "npx codex-acp", "not installed, so left as it is"
    assert read["blablador.helmholtz.de"]["run_command"]["*"] == "blablador-acp"
    assert read["kisski.academiccloud.de"]["identity"] == "mine"
    listed = json.loads(settings(toad_box).read_text())["launcher"]["agents"].split("\n")
    assert listed == ["claude.com", "vibe.mistral.ai", "copilot.github.com", "opencode.ai", "kisski.academiccloud.de"]


def test_second_call_changes_nothing(toad_box):
    toad_box.run("toad")
    files = [settings(toad_box), *agents(toad_box).iterdir()]
    before = [(p.stat().st_ino, p.stat().st_mtime_ns) for p in files]
    toad_box.run("toad")
    assert before == [(p.stat().st_ino, p.stat().st_mtime_ns) for p in files]


def test_agents_that_cannot_be_written_do_not_stop_the_rest(toad_box):
    folder = agents(toad_box)
    folder.chmod(0o555)
    result = toad_box.run("toad", "--version")
    folder.chmod(0o755)
    assert result.status == 0 and result.out == "toad --version clean\n"
    assert result.err.count("its agents could not be set up") == 2 and settings(toad_box).exists()


def test_own_settings_stay_and_corrupt_ones_are_kept_aside(toad_box):
    settings(toad_box).parent.mkdir(parents=True)
    settings(toad_box).write_text('{"launcher": {"agents": "my.agent\\nclaude.com"}, "ui": {"theme": "nord"}}')
    toad_box.run("toad")
    data = json.loads(settings(toad_box).read_text())
    assert data["launcher"]["agents"].startswith("my.agent\nclaude.com\nvibe") and data["ui"] == {"theme": "nord"}
    settings(toad_box).write_text("{broken")
    assert toad_box.run("toad").status == 0
    assert "launcher" in json.loads(settings(toad_box).read_text())
    assert settings(toad_box).with_name("toad.json.unreadable").read_text() == "{broken"


@pytest.mark.parametrize(
    ("link", "agent"), [("blablatoad", "blablador-acp"), ("kisskitoad", "kisski-acp"), ("openroutertoad", "openrouter-acp")]
)
def test_provider_links(toad_box, link, agent):
    (toad_box.base / "terok/bin" / link).symlink_to("opencode-toad")
    assert toad_box.run(link, "/workspace").out == f"toad acp {agent} /workspace clean\n"
    assert json.loads(settings(toad_box).read_text())["ui"]["theme"] == "dracula"


def test_unknown_link_and_missing_package(box):
    (box.base / "terok/bin/frogtoad").symlink_to("opencode-toad")
    assert box.run("frogtoad").status == 1
    assert box.run("toad").status == 127
    (box.base / "terok/bin/kisskitoad").symlink_to("opencode-toad")
    (box.base / "terok/bin/toad").unlink()
    result = box.run("kisskitoad")
    assert result.status == 1 and "not installed" in result.err


@pytest.mark.parametrize("content", [None, "", "a;b\n", "x" * 257, "two words"])
def test_entry_refuses_a_bad_token_before_anything_else(toad_box, content):
    if content is not None:
        (toad_box.base / "home/dev/.terok").mkdir()
        (toad_box.base / "home/dev/.terok/toad.token").write_text(content)
    result = toad_box.run("terok-toad-entry")
    assert (result.status, result.out) == (1, "") and "toad.token" in result.err


@pytest.fixture
def gate(toad_box):
    kept = Path(os.environ.get("TEROK_TEST_CACHE") or REPOSITORY / ".cache") / "caddy/usr/bin/caddy"
    caddy = shutil.which("caddy") or (kept if kept.is_file() else None)
    if not caddy:
        pytest.skip("caddy is not installed; run tests/host/caddy")
    shutil.copy(caddy, toad_box.base / "terok/bin/caddy")
    (toad_box.base / "etc/caddy").mkdir()
    shutil.copy(RESOURCES / "scripts/Caddyfile", toad_box.base / "etc/caddy/Caddyfile")
    (toad_box.base / "home/dev/.terok").mkdir()
    (toad_box.base / "home/dev/.terok/toad.token").write_text(f"{TOKEN}\r\n")

    def session(script: str, *arguments: str, **env: str):
        start = f"""
            terok-toad-entry {" ".join(arguments)} >/srv/out 2>/srv/err & entry=$!
            for i in $(seq 200); do grep -q TEROK_READY /srv/out && break; kill -0 $entry || break; sleep 0.1; done
        """
        return toad_box.bash(start + script, **{**ENV, **env})

    return session


CURL = "curl -s -o /dev/null -w '%{http_code} %{redirect_url}\\n' --max-time 10"


def test_gate_answers(gate, toad_box):
    url = "http://localhost:8080"
    result = gate(
        f"""
        {CURL} {url}{PAGE}/; {CURL} '{url}/?token=wrong'
        {CURL} -b terok_token_8080={TOKEN}x {url}{PAGE}/; {CURL} -b terok_token_8080= {url}{PAGE}/
        {CURL} -c /srv/jar '{url}/a/b?token={TOKEN}'; curl -s -b /srv/jar '{url}{PAGE}/a/b?x=1'; echo
        curl -si '{url}/?token={TOKEN}' | grep -i '^set-cookie'
        {CURL} http://127.0.0.1:2019/config/
        """
    )
    lines = [line.strip() for line in result.out.splitlines()]
    assert lines[:4] == ["401"] * 4, (result.err, (toad_box.base / "srv/err").read_text())
    assert lines[4] == f"303 http://localhost:8080{PAGE}/a/b"
    assert lines[5] == "toad /a/b?x=1"
    assert lines[6].lower() == f"set-cookie: terok_token_8080={TOKEN}; Path={PAGE}; HttpOnly; SameSite=Lax".lower()
    assert lines[7] == "000"
    out = (toad_box.base / "srv/out").read_text()
    assert f"toad --serve -H 127.0.0.1 -p 8081 --public-url http://localhost:8080{PAGE} clean" in out and out.endswith("TEROK_READY\n")
    assert TOKEN not in out + (toad_box.base / "srv/err").read_text()
    for path in (toad_box.base / "home/dev").rglob("*"):
        assert path.name == "toad.token" or not path.is_file() or TOKEN not in path.read_text(errors="replace"), path


# holds: web-cookie-of-one-task
def test_cookie_goes_to_no_other_page_of_the_host(gate, toad_box):
    """A browser that has opened this task's page visits the web server of another container, on another port."""
    (toad_box.base / "srv/other.py").write_text(
        "import http.server\n"
        "class S(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(str(self.headers['Cookie']).encode() + b'\\n')\n"
        "http.server.HTTPServer(('127.0.0.1', 8090), S).serve_forever()\n"
    )
    jar = "-c /srv/jar -b /srv/jar"
    result = gate(
        f"""
        python3 /srv/other.py 2>/dev/null & curl -so /dev/null --retry 20 --retry-connrefused --retry-delay 1 localhost:8090
        curl -sL {jar} 'http://localhost:8080/?token={TOKEN}'; echo
        for path in / /ws /static/x /t-0123456789abcdef0123456789abcdef/; do curl -s {jar} "http://localhost:8090$path"; done
        for path in / /ws /t-0/; do {CURL} {jar} -b terok_token_8080={TOKEN} "http://localhost:8080$path"; done
        kill %2
        """
    )
    lines = [line.strip() for line in result.out.splitlines()]
    assert lines == ["toad /", *["None"] * 4, *["401"] * 3], result.err


@pytest.mark.parametrize(
    ("flag", "outer", "secure"),
    [
        (("--public-url", "http://127.0.0.1:7861"), "", ""),
        (("--public-url=http://[::1]:7861/x/",), "/x", ""),
        (("--public-url=https://host.example:7861",), "", "; Secure"),
    ],
)
def test_cookie_follows_the_public_address(gate, toad_box, flag, outer, secure):
    url = f"http://localhost:8080/?token={TOKEN}"
    script = f"curl -si '{url}' | grep -ioE '^(location|set-cookie):.*'; {CURL} -b terok_token_7861={TOKEN} http://localhost:8080{PAGE}/"
    lines = [line.strip() for line in gate(script, *flag, "/workspace").out.splitlines()]
    cookie = f"Set-Cookie: terok_token_7861={TOKEN}; Path={outer}{PAGE}; HttpOnly; SameSite=Lax{secure}"
    assert sorted(lines) == sorted([f"Location: {outer}{PAGE}/", cookie, "200"])
    address = flag[-1].removeprefix("--public-url=").rstrip("/")
    assert f"/workspace --public-url {address}{PAGE} clean" in (toad_box.base / "srv/out").read_text()


def test_public_address_that_is_none_is_refused(toad_box):
    (toad_box.base / "home/dev/.terok").mkdir()
    (toad_box.base / "home/dev/.terok/toad.token").write_text(TOKEN)
    result = toad_box.run("terok-toad-entry", "--public-url", "javascript:alert(1)")
    assert (result.status, result.out) == (1, "") and "--public-url" in result.err


@pytest.mark.parametrize("victim", ["caddy", "toad"])
def test_they_die_together(gate, victim):
    kill = "pkill -9 -x caddy" if victim == "caddy" else "pkill -9 -f 'toad --serve'"
    result = gate(f"{kill}; wait $entry; echo $?; pgrep -c 'caddy|python'")
    assert result.out.split() == ["137", "0"]


def test_stop_takes_both_along(gate):
    assert gate("kill -TERM $entry; wait $entry; echo $?; pgrep -c 'caddy|python'").out.split() == ["143", "0"]


def test_default_ports_and_a_toad_that_does_not_start(gate, toad_box):
    real = next((toad_box.base / "home/dev/.local").rglob("bin/toad"))
    real.write_text("#!/bin/sh\nexit 6\n")
    result = gate("wait $entry; echo $?", TOAD_PUBLIC_PORT="", TOAD_INTERNAL_PORT="")
    assert result.out == "6\n" and "TEROK_READY" not in (toad_box.base / "srv/out").read_text()
