"""The smaller programs: trust, model list, help, updates, extensions, tmux, texts."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib

import pytest
from container_box import BRIDGES, FIXTURES, RESOURCES, SCRIPTS

TRUST = json.loads((FIXTURES / "trusted_folders.json").read_text())


def trust(box, path="/workspace"):
    return box.run("/usr/local/share/terok/terok-trust-workspace.py", path, "/home/dev/.vibe/trusted_folders.toml")


@pytest.mark.parametrize("case", TRUST, ids=lambda case: case["name"])
def test_trust(box, case):
    file = box.base / "home/dev/.vibe/trusted_folders.toml"
    if case["before"] is not None:
        file.parent.mkdir()
        file.write_text(case["before"])
    result = trust(box, case.get("path", "/workspace"))
    assert result.status == case["status"], result.err
    assert file.read_text() == case["after"]
    if case["status"] == 0:
        assert case.get("path", "/workspace") in tomllib.loads(file.read_text())["trusted"]
        assert trust(box, case.get("path", "/workspace")).status == 0 and file.read_text() == case["after"]


MISTRAL = """
import http.server, json, sys
class S(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path == "/v1/models" and self.headers["Authorization"] == "Bearer terok-p-1"
        self.send_response(200 if ok else 401); self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": m} for m in open("/srv/models").read().split()]}).encode())
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", 9419), S).serve_forever()
"""


def sync(box, options="", models="b a", key="terok-p-1"):
    (box.base / "srv/mistral.py").write_text(MISTRAL)
    (box.base / "srv/models").write_text(models)
    wait = "for i in $(seq 600); do (exec 3<>/dev/tcp/127.0.0.1/9419) 2>/dev/null && break; sleep 0.05; done"
    env = {"MISTRAL_API_KEY": key} if key else {}
    return box.bash(f"python3 /srv/mistral.py & {wait}; vibe-model-sync {options}", **env)


def test_model_list(box):
    cache = box.base / "home/dev/.vibe/mistral-models.txt"
    assert sync(box).status == 0
    assert cache.read_text().splitlines()[1:] == ["a", "b"] and cache.read_text().startswith("#")
    assert sync(box).status == 0
    news = sync(box, models="a b c")
    assert news.status == 1 and "c" in news.out and news.err == ""
    assert sync(box, "--min-age-hours 1", models="a b c").status == 0
    assert sync(box, "--ack", models="a b c").status == 0
    assert sync(box, models="a b c").status == 0
    (box.base / "home/dev/.vibe/config.toml").write_text(
        '[[models]]\nname = "old"\nprovider = "mistral"\n[[models]]\nname = "x"\nprovider = "llamacpp"\n'
    )
    gone = sync(box, models="a b c")
    assert gone.status == 1 and "old" in gone.out and "x" not in gone.out.split(":")[1].split("\n")[0]


def test_model_list_failures_are_not_news(box):
    for result in (sync(box, key=""), sync(box, key="terok-p-2")):
        assert result.status == 1 and result.out == "" and "vibe-model-sync" in result.err
    (box.base / "home/dev/.vibe").mkdir(exist_ok=True)
    (box.base / "home/dev/.vibe/.env").write_text("MISTRAL_API_KEY='terok-p-1'\n")
    assert sync(box, key="").status == 0


def test_help(box):
    folder = box.base / "share/terok/help.d"
    folder.mkdir()
    (folder / "agents.txt").write_text("  claude  the agent\n")
    (folder / "dev-tools.txt").write_text("")
    short = box.run("hilfe", "--kurz", TEROK_UNRESTRICTED="1")
    assert "unrestricted" in short.out and "claude  the agent" in short.out and "Tools" not in short.out
    assert len(box.run("hilfe").out) > len(short.out) and "Permissions: \x1b[32mrestricted" in box.run("hilfe").out
    wrong = box.run("hilfe", "--lang")
    assert (wrong.status, wrong.out) == (2, "") and "usage" in wrong.err
    assert box.run("allthethings.sh").status == 0


def update(box, family: str, agents: str):
    log = '#!/bin/sh\necho "$(basename "$0") $*" >>/srv/log\n'
    for name in ("apt-get", "dnf", "npm", "pipx"):
        box.program(name, log)
    box.program("runuser", '#!/bin/sh\nshift 3\nexec "$@"\n')
    (box.base / "etc/terok").mkdir(exist_ok=True)
    (box.base / "etc/terok/installed.env").write_text(f"TEROK_INSTALLED_AGENTS={agents}\n")
    if family == "rpm":  # a deb system is recognised first, so its tool must be out of reach
        (box.base / "terok/bin/apt-get").unlink()
        shadow = box.base / "srv/bin"
        shadow.mkdir()
        for tool in ("bash", "sh", "sed", "env", "basename"):
            (shadow / tool).symlink_to(shutil.which(tool))
        return box.bash("PATH=/terok/bin:/srv/bin exec update-all-the-things", uid=0)
    return box.run("update-all-the-things", uid=0)


@pytest.mark.parametrize(("family", "tool"), [("deb", "apt-get"), ("rpm", "dnf")])
def test_updates_only_what_is_installed(box, family, tool):
    result = update(box, family, "claude,codex")
    log = (box.base / "srv/log").read_text()
    assert result.status == 0, result.err
    assert log.startswith(tool) and "@anthropic-ai/claude-code@latest" in log and "@openai/codex@latest" in log
    assert "opencode" not in log and "vibe" not in log and "toad" not in log
    assert "Updated: " in result.out.replace("\x1b[0m", "").replace("\x1b[1m", "")


def test_update_goes_on_after_a_failure(box):
    update(box, "deb", "claude,vibe")
    box.program("npm", "#!/bin/sh\nexit 1\n")
    result = box.run("update-all-the-things", uid=0)
    assert result.status == 1 and "claude" in result.err
    assert "pipx upgrade --include-injected mistral-vibe" in (box.base / "srv/log").read_text()


def test_update_wants_root(box):
    result = box.run("update-all-the-things")
    assert result.status == 1 and "sudo" in result.err


def test_codex_login_relay(box):
    box.program("ip", "#!/bin/sh\necho '2: eth0 inet 127.0.0.2/8 brd x scope global eth0'\n")
    box.program("codex", "#!/bin/sh\necho \"codex $*\"; printf ping | socat -t 5 - TCP:127.0.0.2:1455,retry=20,interval=0.1; exit 4\n")
    serve = "socat TCP-LISTEN:1455,bind=127.0.0.1,fork SYSTEM:'tr a-z A-Z' &"
    served = "until grep -q '0100007F:05AF .* 0A ' /proc/net/tcp; do sleep 0.05; done"
    left = "grep -c '0200007F:05AF .* 0A ' /proc/net/tcp"
    gone = f"for i in $(seq 100); do [ $({left}) = 0 ] && break; sleep 0.05; done; {left}"
    result = box.bash(f"{serve} {served}; setup-codex-auth.sh; echo $?; {gone}")
    assert result.out.splitlines() == ["codex login", "PING4", "0"]
    box.program("ip", "#!/bin/sh\n")
    assert box.run("setup-codex-auth.sh").status == 1


def node(box, script: str, **env):
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    for name in ("vault-routes.mjs", "opencode-session-plugin.mjs"):
        shutil.copy(SCRIPTS / name, box.base / "srv" / name)
    return box.run("node", "--input-type=module", "-e", script, **env)


PI = """
import load from "/srv/vault-routes.mjs"
const seen = {}; load({ registerProvider: (name, { baseUrl }) => { seen[name] = baseUrl } })
console.log(JSON.stringify(seen))
"""
PHANTOM = "terok-p-" + "0" * 32


def test_pi_routes_only_phantom_keys(box):
    env = {
        "ANTHROPIC_API_KEY": PHANTOM,
        "OPENAI_API_KEY": "sk-own",
        "OPENROUTER_API_KEY": PHANTOM,
        "MISTRAL_API_KEY": PHANTOM,
    }
    here = json.loads(node(box, PI, TEROK_VAULT_LOOPBACK_PORT="9419", **env).out)
    base = "http://localhost:9419"
    assert here == {"anthropic": base, "mistral": base, "openrouter": f"{base}/api/v1"}
    there = json.loads(node(box, PI, TEROK_TOKEN_BROKER_PORT="18731", **env).out)
    assert there["anthropic"] == "http://host.containers.internal:18731"
    assert json.loads(node(box, PI, **env).out) == {}


def test_pi_environment(box):
    shutil.copy(SCRIPTS / "pi-env.sh", box.base / "etc/profile.d/pi-env.sh")
    script = ". /etc/profile.d/pi-env.sh; . /etc/profile.d/pi-env.sh; echo $PI_OFFLINE $ANTHROPIC_OAUTH_TOKEN; readlink ~/.pi/agent/extensions/*"
    result = box.run("sh", "-euc", script, CLAUDE_CODE_OAUTH_TOKEN="c")
    assert result.out.split() == ["1", "c", "/usr/local/share/terok/pi-extensions/vault-routes.mjs"]


def test_session_plugin(box):
    script = """
        import { TerokSession } from "/srv/opencode-session-plugin.mjs"
        const { event } = await TerokSession({})
        await event({ event: { type: "session.idle", properties: { info: { id: "no" } } } })
        await event({ event: { type: "session.created", properties: { info: { id: "ses_1" } } } })
        process.env.TEROK_SESSION_FILE = "/nowhere/x"
        await event({ event: { type: "session.created", properties: { info: { id: "ses_2" } } } })
    """
    result = node(box, script, TEROK_SESSION_FILE="/srv/session")
    assert result.status == 0, result.err
    assert (box.base / "srv/session").read_text() == "ses_1\n"


def test_tmux_settings(box):
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    shutil.copy(RESOURCES / "tmux/container-tmux.conf", box.base / "etc/tmux.conf")
    show = "; tmux show -gv ".join(["prefix", "status-style", "status-interval", "mouse", "history-limit", "base-index"])
    result = box.bash(f"tmux new-session -d -x 80 -y 24 'sleep 20' && tmux show -gv {show}; tmux show -gv status-left", TERM="xterm")
    assert result.err == ""
    assert result.out.splitlines()[:1] == ["C-a"] and "colour22" in result.out and "CONTAINER" in result.out
    assert {"5", "on", "10000", "1"} <= set(result.out.split())


def test_agent_files_of_toad():
    for path in (RESOURCES / "toad-agents").glob("*.toml"):
        data = tomllib.loads(path.read_text())
        assert (data["identity"], data["protocol"], data["type"]) == (path.stem, "acp", "coding")
        assert data["run_command"]["*"] == f"{data['short_name']}-acp"


def test_default_instructions():
    text = (RESOURCES / "instructions/default.md").read_text()
    words = "terok container /workspace/ sudo git apt-get dnf work-status.yml gh glab rg fd jq yq ast-grep toad Python Node"
    assert [word for word in words.split() if word not in text] == []
    states = "planning coding testing debugging reviewing documenting done blocked error"
    assert [state for state in states.split() if f"`{state}`" not in text] == []


def test_shellcheck_finds_nothing():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    scripts = [p for p in (*SCRIPTS.iterdir(), *BRIDGES.iterdir()) if p.is_file()]
    shell = [p for p in scripts if "sh" in "".join(p.read_text().splitlines()[:1]) and "python" not in p.read_text()[:40]]
    assert len(shell) >= 18
    result = subprocess.run(["shellcheck", "-x", *shell], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_programs_are_executable_and_the_rest_is_not():
    programs = {p.name for p in SCRIPTS.iterdir() if p.stat().st_mode & 0o111}
    sourced = {"terok-env.sh", "terok-env-git-identity.sh", "terok-bash-banner.sh", "terok-acp-env.sh", "pi-env.sh"}
    data = {"Caddyfile", "vault-routes.mjs", "opencode-session-plugin.mjs"}
    assert {p.name for p in SCRIPTS.iterdir() if p.is_file()} - programs == sourced | data
