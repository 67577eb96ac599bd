"""HTTP services of a test's own, on the loopback: a fake of whatever the test calls upstream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answering(BaseHTTPRequestHandler):
    """What every such service does; a test adds ``do_GET`` or ``do_POST``."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes = b"ok") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, *_: object) -> None:
        pass


class Serving(ThreadingHTTPServer):
    """Serves from the moment it is made until it is closed; connections may break."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        pass

    def close(self) -> None:
        self.shutdown()
        self.server_close()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a service."""
    server = Serving(handler)
    yield server.url
    server.close()
