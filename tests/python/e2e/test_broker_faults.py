"""What a container hears when its token or the upstream is not in order: a status and a named cause, nothing more."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from e2e_site import DONE, Site

CALL = (
    "curl -sS --max-time 20 -w '\\n%{http_code}' --unix-socket /run/terok/vault.sock http://localhost/v1/messages "
    "-H 'content-type: application/json' "
)
BODY = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})


def ask(site: Site, container: str, key: str = '"$ANTHROPIC_API_KEY"') -> tuple[str, int]:
    """One model request from inside a container; the answer's text and status (0: none)."""
    header = f"-H 'x-api-key: '{key} " if key else ""
    said = site.inside(container, f"{CALL}{header}-d '{BODY}' 2>&1", check=False)
    text, _, status = said.rpartition("\n")
    return text.strip(), int(status)


def box(site: Site) -> str:
    """A running container of Claude's, with tokens of its own."""
    return site.runner().run_interactive("claude", str(site.repository()))


@contextlib.contextmanager
def upstream(site: Site, behave: Callable[[socket.socket], None]) -> Iterator[None]:
    """A server at the upstream address that reads a request and then misbehaves."""
    listener = socket.create_server(("127.0.0.1", site.port))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    behave(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def half_an_answer(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"5\r\nfirst\r\n")
    time.sleep(0.3)
    reset(connection)


def slow_answer(connection: socket.socket) -> None:
    time.sleep(1)
    connection.sendall(HEAD + b"5\r\nfirst\r\n")
    time.sleep(1)
    connection.sendall(b"6\r\nsecond\r\n0\r\n\r\n")


# improves: 21-5.12-markers-scoped
def test_tokens(site: Site) -> None:
    one, two = box(site), box(site)
    with site.model(DONE) as model:
        assert ask(site, one)[1] == ask(site, two)[1] == 200
        token = site.inside(one, "echo $ANTHROPIC_API_KEY")
        assert token != site.key and site.key not in site.inside(one, "env")
        assert ask(site, one, "terok-p-" + "0" * 32) == ("Invalid token", 401)
        assert ask(site, one, "") == ("Missing authentication", 401)
        assert ask(site, two, token) == ("Invalid token", 401), "a token of another container"
        assert ask(site, one, site.key) == ("Invalid token", 401), "the real key is no token"

        subject = site.inside(one, "echo $TASK_ID")
        with contextlib.closing(site.database()) as db:
            assert db.revoke_tokens("standalone", subject) > 0
        assert ask(site, one) == ("Invalid token", 401)
        assert ask(site, two)[1] == 200
    assert {r["key"] for r in model.requests()} == {"accepted"}


@pytest.mark.parametrize(
    ("behave", "text", "status"),
    [
        (None, "Upstream request failed", 502),
        (reset, "Upstream disconnected", 502),
        (lambda connection: None, "Upstream disconnected", 502),
        (half_an_answer, "first", 200),
        (slow_answer, "firstsecond", 200),
    ],
    ids=["down", "reset", "closed", "reset in mid-stream", "slow"],
)
def test_upstream_trouble_reaches_the_agent_named(site: Site, behave, text: str, status: int) -> None:
    container = box(site)
    with upstream(site, behave) if behave else contextlib.nullcontext():
        said, code = ask(site, container)
    assert code == status and text in said, (said, code)
    # Cut short is not the same as complete: the client must notice.
    assert ("curl: (" in said) == (behave is half_an_answer), said
    with site.model(DONE):
        assert ask(site, container)[1] == 200, "the next request works"
