"""opencode-provider and its ACP form against a small model service."""

from __future__ import annotations

import json
import os
import stat

import pytest

SERVICE = """
import http.server, json, sys
class S(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path == "/v1/models" and self.headers["Authorization"] == "Bearer KEY"
        body = json.dumps({"data": [{"id": m} for m in sys.argv[1].split(",")]}).encode()
        self.send_response(200 if ok else 401); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", 9419), S).serve_forever()
"""
OPENCODE = """#!/bin/sh
echo "argv: $*"; echo "config: $OPENCODE_CONFIG"; echo "key: $BLABLADOR_API_KEY"; echo "url: $TEROK_OC_BLABLADOR_BASE_URL"
echo "permission: $OPENCODE_PERMISSION"; echo "author: $GIT_AUTHOR_NAME $GIT_AUTHOR_EMAIL"; exit 5
"""
ENV = {"BLABLADOR_API_KEY": "KEY", "TEROK_OC_BLABLADOR_BASE_URL": "http://localhost:9419/v1/"}


@pytest.fixture
def oc_box(box):
    (box.base / "srv/service.py").write_text(SERVICE)
    box.program("opencode", OPENCODE)
    bin_dir = box.base / "terok/bin"
    for name in ("blablador", "kisski", "strange"):
        (bin_dir / name).symlink_to("opencode-provider")
    for name in ("blablador-acp", "terok-blablador-acp"):
        (bin_dir / name).symlink_to("opencode-provider-acp")
    return box


def call(box, command: str, models: str = "alias-huge,zeta,alpha", **env):
    wait = "for i in $(seq 600); do (exec 3<>/dev/tcp/127.0.0.1/9419) 2>/dev/null && break; sleep 0.05; done"
    serve = f"python3 /srv/service.py {models} 2>/dev/null & {wait};" if models else ""
    return box.bash(f"{serve} {command}", **{**ENV, **env})


def config(box) -> dict:
    return json.loads((box.base / "home/dev/.blablador/opencode/opencode.json").read_text())


def test_run_writes_references_and_hands_values_to_opencode(oc_box):
    result = call(oc_box, "blablador run --model x -- --list-models", http_proxy="http://127.0.0.1:1")
    assert result.status == 5, result.err
    assert "argv: run --model x -- --list-models\n" in result.out
    assert "config: /home/dev/.blablador/opencode/opencode.json\nkey: KEY\nurl: http://localhost:9419/v1\n" in result.out
    data = config(oc_box)
    assert data["model"] == "blablador/alias-huge" and data["$schema"] == "https://opencode.ai/config.json"
    entry = data["provider"]["blablador"]
    assert entry["options"] == {"baseURL": "{env:TEROK_OC_BLABLADOR_BASE_URL}", "apiKey": "{env:BLABLADOR_API_KEY}"}
    assert list(entry["models"]) == ["alias-huge", "alpha", "zeta"]
    path = oc_box.base / "home/dev/.blablador/opencode/opencode.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "KEY" not in path.read_text().replace("API_KEY", "")


@pytest.mark.parametrize(("unrestricted", "permission"), [("", ""), ("1", '{"*": "allow"}')])
def test_permission_is_in_the_environment_of_unrestricted_tasks_only(oc_box, unrestricted, permission):
    folder = oc_box.base / "home/dev/.blablador/opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps({"permission": {"*": "allow"}, "theme": "x"}))
    result = call(oc_box, "blablador", TEROK_UNRESTRICTED=unrestricted)
    assert f"permission: {permission}\n" in result.out
    assert "permission" not in config(oc_box) and config(oc_box)["theme"] == "x"


def test_own_settings_survive(oc_box):
    folder = oc_box.base / "home/dev/.blablador/opencode"
    folder.mkdir(parents=True)
    own = {"model": "other/m", "provider": {"other": {"x": 1}}, "permission": {"bash": "ask"}}
    (folder / "opencode.json").write_text(json.dumps(own))
    call(oc_box, "blablador")
    data = config(oc_box)
    assert data["model"] == "other/m" and data["permission"] == {"bash": "ask"}
    assert data["provider"]["other"] == {"x": 1} and "blablador" in data["provider"]


def test_file_is_not_touched_without_news(oc_box):
    call(oc_box, "blablador")
    path = oc_box.base / "home/dev/.blablador/opencode/opencode.json"
    before = path.stat()
    call(oc_box, "blablador")
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)


def test_known_models_stay_when_the_service_is_down(oc_box):
    call(oc_box, "blablador")
    result = call(oc_box, "blablador", models="")
    assert result.status == 5 and list(config(oc_box)["provider"]["blablador"]["models"]) == ["alias-huge", "alpha", "zeta"]


@pytest.mark.parametrize(("models", "model"), [("alias-code,a", "alias-code"), ("b,a", "a")])
def test_model_falls_back_with_a_word_on_stderr(oc_box, models, model):
    result = call(oc_box, "blablador", models=models)
    assert config(oc_box)["model"] == f"blablador/{model}" and "alias-huge" in result.err


def test_list_of_models(oc_box):
    assert call(oc_box, "blablador --list-models").out == "alias-huge\nalpha\nzeta\n"
    down = call(oc_box, "blablador --list-models --base-url=http://localhost:1", models="")
    assert down.status == 1 and "http://localhost:1/models" in down.err


def test_key_from_the_file_and_no_key(oc_box):
    none = oc_box.run("blablador", TEROK_OC_BLABLADOR_BASE_URL="http://localhost:1")
    assert none.status == 1 and "BLABLADOR_API_KEY" in none.err and ".blablador/config.json" in none.err
    folder = oc_box.base / "home/dev/.blablador"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"api_key": "KEY"}')
    assert "key: KEY\n" in call(oc_box, "blablador", BLABLADOR_API_KEY="").out


def test_unknown_provider_and_missing_opencode(oc_box):
    assert "unknown provider" in oc_box.run("strange").err
    os.unlink(oc_box.base / "terok/bin/opencode")
    missing = call(oc_box, "PATH=/terok/bin:/usr/bin:/bin blablador")
    assert missing.status == 1 and "not installed" in missing.err


@pytest.mark.parametrize("name", ["blablador-acp", "terok-blablador-acp"])
def test_acp_form(oc_box, name):
    result = call(oc_box, f"{name} --x")
    assert "argv: acp --x\n" in result.out and "author: Blablador noreply@hzdr.de" in result.out
    assert result.status == 5 and config(oc_box)["model"] == "blablador/alias-huge"
