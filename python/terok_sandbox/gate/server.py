"""The HTTP git service of one container, as it is started without a supervisor.

The service is native and runs on a thread of its own; the class here says what it serves and starts and stops it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

_LOOPBACK = "127.0.0.1"


class GateServer:
    """Serves ``<mirror_root>/<scope>.git`` to whoever presents *token* as the user name of HTTP Basic authentication.

    It listens on the Unix socket *socket_path* (made with mode 0600), or else on *port* of *host*, which must be the
    IPv4 loopback address; connections of other users are turned away. Nothing happens before :meth:`start`.
    """

    def __init__(
        self,
        *,
        mirror_root: Path,
        token: str,
        scope: str,
        socket_path: Path | None = None,
        host: str | None = None,
        port: int | None = None,
    ) -> None:
        self._mirror_root = Path(mirror_root)
        self._token = token
        self._scope = scope
        self._socket_path = socket_path
        self._host = host
        self._port = port
        self._server: Any = None

    async def start(self) -> None:
        """Bind and serve; starting a running service does nothing.

        Raises:
            ValueError: neither a socket nor host and port were given, the host is not the loopback, or no repository
                can have the name *scope*.
            RuntimeError: the socket's name is taken by a file, or another process serves it.
            OSError: binding failed.
        """
        await _in_thread(self._start)

    async def stop(self) -> None:
        """Stop serving; requests under way get a second. May be called at any time, also twice."""
        await _in_thread(self._stop)

    def _start(self) -> None:
        from terok_native import _lib

        if self._server is not None:
            return
        if self._socket_path is None:
            if self._host is None or self._port is None:
                raise ValueError("cannot serve the gate: it needs socket_path or host and port")
            if self._host != _LOOPBACK:
                raise ValueError(f"cannot serve on `{self._host}`: only {_LOOPBACK} is allowed")
        self._server = _lib.gate_serve(
            self._mirror_root, self._scope, self._token, self._socket_path, self._port or 0
        )

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()


async def _in_thread(work: Callable[[], None]) -> None:
    import asyncio

    await asyncio.get_running_loop().run_in_executor(None, work)
