"""A supervisor is killed while it refreshes an OAuth login: the login is never lost.

The vendor rotates: a refresh token is void as soon as its successor was used, be it by its access token alone. Whoever
uses what it did not keep is logged out here.
"""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from campaign import Figures, children, dice, recovered
from tenant import Box, Tenant, http, status, until
from test_killed_supervisor import exchange, kill

KILLS = 80


class Vendor:
    """A token endpoint and an API behind it."""

    def __init__(self) -> None:
        self.count = 0
        self.live, self.pending = "refresh-0", "none"
        self.refused: list[str] = []
        self.asked, self.guard = threading.Event(), threading.Lock()
        self.slowness, self.rolls = 0.02, dice("vendor")
        vendor = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(*vendor.refresh(body["refresh_token"]))

            def do_GET(self) -> None:
                word = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self.reply(*vendor.use(word))

            def reply(self, code: int, said: dict[str, Any]) -> None:
                text = json.dumps(said).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{self._server.server_port}"
        refresh = {"token_url": f"{base}/token", "client_id": "c"}
        self.routes = {
            "claude": {"upstream": base, "auth_header": "dynamic", "auth_prefix": "", "oauth_refresh": refresh}
        }

    def refresh(self, token: str) -> tuple[int, dict[str, Any]]:
        self.asked.set()
        time.sleep(self.rolls.uniform(0, self.slowness))
        with self.guard:
            if token not in (self.live, self.pending):
                self.refused.append(token)
                return 400, {"error": "invalid_grant"}
            self.live, self.count = token, self.count + 1
            self.pending = f"refresh-{self.count}"
            # So short a life is due again at the next start.
            return 200, {"access_token": f"access-{self.count}", "refresh_token": self.pending, "expires_in": 300}

    def use(self, access: str) -> tuple[int, dict[str, Any]]:
        with self.guard:
            token = access.replace("access", "refresh")
            if token == self.pending:
                self.live = token
            return (200, {}) if token == self.live else (401, {"error": "expired"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


LOGIN = """
with cfg.open_credential_db() as db:
    db.store_credential("alpha", "claude", {"type": "oauth", "access_token": "access-0", "refresh_token": "refresh-0", "expires_at": 1.0, "extra": {"kept": [1, 2]}})
tell(True)
"""
RECORD = 'with cfg.open_credential_db() as db: tell(db.load_credential("alpha", "claude"))'


def use(box: Box) -> int:
    port = box.ports["broker"]
    assert port
    try:
        return status(exchange(port, http("/v1/models", Authorization=f"Bearer {box.tokens['broker']}")))
    except OSError:
        return 0


def until_kept(vault: Path) -> None:
    """Waits for the short moment in which a refreshed login lies beside the vault and not in it; it may be missed."""
    end = time.monotonic() + 0.3
    while time.monotonic() < end and not any(name.startswith(".refreshed-") for name in os.listdir(vault)):
        pass


# improves: 21-5.10-refresh-kept
def test_no_kill_logs_anybody_out(tenant: Tenant, figures: Figures) -> None:
    vendor, rolls = Vendor(), dice("refresh")
    box = tenant.launch("alpha", "t1", 1)
    tenant.tell(LOGIN)
    tenant.tell("cfg.routes_path.write_text(json.dumps(given)); tell(True)", **vendor.routes)
    container = tenant.stand_in()
    kill(tenant.watchdog(box))
    for number in range(KILLS):
        vendor.asked.clear()
        assert until(lambda: not tenant.supervisors())
        tenant.start(box, container)
        assert vendor.asked.wait(15), f"kill {number}: no refresh was tried; {vendor.refused}"
        if number % 3:
            time.sleep(rolls.uniform(0, 0.05))
        else:
            until_kept(Path(tenant.places["vault"]))
        watchdog = tenant.watchdog(box)
        victims = children(watchdog)
        began = time.monotonic()
        # With the worker alone the watchdog starts another at once: both ways are tried.
        if number % 4 == 0:
            vendor.asked.clear()
            kill(victims[0])
            assert vendor.asked.wait(15), f"kill {number}: the new worker does not refresh; {vendor.refused}"
            figures.note("refresh: worker", time.monotonic() - began)
        kill(watchdog)
        assert until(lambda: not tenant.supervisors())
        if number % 8 == 7:
            tenant.start(box, container)
            figures.note("refresh: watchdog", recovered(lambda: use(box) == 200, time.monotonic()))
            kill(tenant.watchdog(box))
        else:
            figures.note("refresh: watchdog", time.monotonic() - began)
        assert not vendor.refused, f"kill {number}: a void token was used: {vendor.refused}"
    tenant.start(box, container)
    assert until(lambda: use(box) == 200)
    record = tenant.tell(RECORD)
    assert record["extra"] == {"kept": [1, 2]} and record["type"] == "oauth"
    assert record["refresh_token"] in (vendor.live, vendor.pending) and not vendor.refused
    print(f"refresh: {vendor.count} refreshes, none refused")
    vendor.close()
