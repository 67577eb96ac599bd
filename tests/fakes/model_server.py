#!/usr/bin/env python3
"""A scripted model service on the loopback, for real agent command line programs.

Duty: speak Anthropic Messages, OpenAI Responses and OpenAI Chat Completions over HTTP well enough
that the unmodified programs work through a script (see `model_script.py`), and record every
request. Invariants: binds a loopback address only; the required key never reaches the log (it is
replaced by `KEY_MARK`), so searching logs for a leaked key stays meaningful.
Refuses: requests without the required key (401), paths it does not serve (404).

Usage: model_server.py --script FILE [--log FILE] [--port N] [--port-file FILE]
                       [--require-key KEY | --require-key-file FILE]

Prints one JSON line, {"host", "port", "url", "pid"}, once it accepts connections, and writes the
same to --port-file (atomically). SIGTERM and SIGINT end it with status 0.
Log, one JSON object per line: {"time" (seconds, epoch), "method", "path", "query", "headers"
(names in lower case), "body" (parsed JSON, else text), "key": "accepted" | "refused" | "absent" |
"unchecked", "status", "side", "step"}.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from model_dialects import Chat, Dialect, Messages, Responses, encode
from model_script import Conversation, Reply, Script, ScriptError

DIALECTS: dict[str, Dialect] = {
    "/v1/messages": Messages(),
    "/v1/responses": Responses(),
    "/v1/chat/completions": Chat(),
}
# A model that every family of programs accepts by name.
MODELS = ("claude-sonnet-4-5", "gpt-5-codex", "scripted")
KEY_MARK = "<the required key>"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class RequestLog:
    """Appends one JSON line per request; safe to use from many threads."""

    def __init__(self, path: Path | None, key: str | None):
        self._lock = threading.Lock()
        self._key = key
        self._fd = None
        if path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            self._fd = os.open(path, flags, 0o600)

    def write(self, record: dict) -> None:
        if self._fd is None:
            return
        line = json.dumps(record)
        if self._key:
            line = line.replace(json.dumps(self._key)[1:-1], KEY_MARK)
        with self._lock:
            os.write(self._fd, line.encode() + b"\n")


class ModelServer(ThreadingHTTPServer):
    """The listening service: script, log and required key shared by all connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], script: Script, log: RequestLog, key: str | None):
        super().__init__(address, Handler)
        self.script = script
        self.log = log
        self.key = key

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are daily business; anything else goes to stderr."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "scripted-model"
    disable_nagle_algorithm = True
    server: ModelServer

    def log_message(self, format: str, *args: object) -> None:
        """Silence: the request log is the record."""

    def _serve(self) -> None:
        started = time.time()
        url = urlsplit(self.path)
        body = self._body()
        key = self._key_state()
        record = {
            "time": started,
            "method": self.command,
            "path": url.path,
            "query": url.query,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
            "key": key,
        }
        if key in ("refused", "absent") and url.path != "/":
            error = DIALECTS.get(url.path, DIALECTS["/v1/messages"]).error(401, "invalid api key")
            self._json(401, error, record)
        elif "upgrade" in self.headers:
            # Codex tries a WebSocket first; this status sends it to plain HTTP without retries.
            self._json(426, DIALECTS["/v1/responses"].error(426, "no websocket here"), record)
        elif self.command == "POST" and url.path in DIALECTS:
            self._model(DIALECTS[url.path], body if isinstance(body, dict) else {}, record)
        else:
            self._furniture(url.path, record)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def _body(self) -> object:
        """The request body: parsed JSON where it is JSON, text otherwise, None if empty."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            raw = b"".join(iter(self._chunk, b""))
        else:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not raw:
            return None
        try:
            return json.loads(raw)
        except ValueError:
            return raw.decode("utf-8", "replace")

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _key_state(self) -> str:
        if self.server.key is None:
            return "unchecked"
        shown = [self.headers.get("x-api-key")]
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        shown.append(token.strip() if scheme.lower() == "bearer" else None)
        given = [value for value in shown if value]
        if not given:
            return "absent"
        # Any other credential beside the right one would be a leak too.
        return "accepted" if all(value == self.server.key for value in given) else "refused"

    def _model(self, dialect: Dialect, body: dict, record: dict) -> None:
        talk = dialect.read(body)
        try:
            reply = self.server.script.reply(talk)
        except ScriptError as err:
            self._json(400, dialect.error(400, str(err)), record)
            return
        record |= {"side": reply.side, "step": None if reply.side else talk.position()}
        time.sleep(reply.delay)
        if reply.status:
            self._json(reply.status, dialect.error(reply.status, "as the script says"), record)
        elif talk.stream:
            self._stream(dialect, talk, reply, record)
        else:
            self._json(200, dialect.whole(talk, reply), record)

    def _stream(self, dialect: Dialect, talk: Conversation, reply: Reply, record: dict) -> None:
        self._note(200, record)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-cache")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for count, event in enumerate(dialect.events(talk, reply), 1):
            data = encode(event)
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
            if count == reply.cut:
                self.close_connection = True
                return
            time.sleep(reply.pace)
        self.wfile.write(b"0\r\n\r\n")

    def _furniture(self, path: str, record: dict) -> None:
        """The small answers around the model: token counts, model lists, a sign of life."""
        if path == "/":
            self._json(200, {"service": self.server_version}, record)
        elif path == "/v1/messages/count_tokens" and self.command == "POST":
            self._json(200, {"input_tokens": 10}, record)
        elif path == "/v1/models" and self.command == "GET":
            self._json(
                200,
                {
                    "object": "list",
                    "has_more": False,
                    "data": [
                        {
                            "id": name,
                            "object": "model",
                            "type": "model",
                            "display_name": name,
                            "created": 1_700_000_000,
                            "created_at": "2023-11-14T22:13:20Z",
                            "owned_by": "scripted",
                        }
                        for name in MODELS
                    ],
                },
                record,
            )
        else:
            self._json(404, DIALECTS["/v1/messages"].error(404, f"no such path {path}"), record)

    def _json(self, status: int, payload: dict, record: dict) -> None:
        self._note(status, record)
        data = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("request-id", "req_scripted")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _note(self, status: int, record: dict) -> None:
        """Logged before the answer leaves, so a caller that has the answer finds the line."""
        self.server.log.write(record | {"status": status})


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--script", type=Path, required=True, help="the JSON script to play")
    parser.add_argument("--log", type=Path, help="append one JSON line per request here")
    parser.add_argument("--host", default="127.0.0.1", choices=LOOPBACK)
    parser.add_argument("--port", type=int, default=0, help="0 (default) picks a free one")
    parser.add_argument("--port-file", type=Path, help="write the address here as JSON")
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--require-key", help="shows in the process list; prefer the file")
    keys.add_argument("--require-key-file", type=Path)
    return parser.parse_args(argv)


def required_key(options: argparse.Namespace) -> str | None:
    if options.require_key_file is None:
        return options.require_key
    key = options.require_key_file.read_text(encoding="utf-8").strip()
    if not key:
        raise ScriptError(f"the key file `{options.require_key_file}` is empty")
    return key


def announce(server: ModelServer, host: str, port_file: Path | None) -> None:
    port = server.server_address[1]
    line = json.dumps(
        {"host": host, "port": port, "url": f"http://{host}:{port}", "pid": os.getpid()}
    )
    if port_file is not None:
        fresh = port_file.with_name(port_file.name + ".new")
        fresh.write_text(line + "\n", encoding="utf-8")
        fresh.replace(port_file)
    print(line, flush=True)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    try:
        key = required_key(options)
        log = RequestLog(options.log, key)
        server = ModelServer((options.host, options.port), Script.load(options.script), log, key)
    except (ScriptError, OSError) as err:
        print(f"model_server: {err}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the serving loop, so it may not run on the loop's own thread.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    announce(server, options.host, options.port_file)
    with server:
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
