"""The HTTP git service of one container, as it is started without a supervisor.

The service is native and runs on a thread of its own; the class here says what it serves and starts and stops it.
"""

from __future__ import annotations

from pathlib import Path

from terok_sandbox.served import Served, check_host, in_thread


class GateServer(Served):
    """Serves ``<mirror_root>/<scope>.git`` to whoever presents *token* as the user name of HTTP Basic authentication.

    It listens on the Unix socket *socket_path* (made with mode 0600), or else on *port* of *host*, which must be the
    IPv4 loopback address; connections of other users are turned away. Nothing happens before :meth:`start`.
    """

    def __init__(
        self,
        *,
        mirror_root: Path | str,
        token: str,
        scope: str,
        socket_path: Path | None = None,
        host: str | None = None,
        port: int | None = None,
    ) -> None:
        self._served = (Path(mirror_root), scope, token)
        self._place = socket_path
        self._address = (host, port)

    async def start(self) -> None:
        """Bind and serve; starting a running service does nothing.

        Raises:
            ValueError: neither a socket nor host and port were given, the host is not the loopback, or no repository
                can have the name *scope*.
            RuntimeError: the socket's name is taken by a file, or another process serves it.
            OSError: binding failed.
        """
        await in_thread(self._start)

    async def stop(self) -> None:
        """Stop serving; requests under way get a second. May be called at any time, also twice."""
        await in_thread(self._stop)

    def _start(self) -> None:
        from terok_native import _lib

        if self._server is not None:
            return
        host, port = self._address
        if self._place is None:
            if host is None or port is None:
                raise ValueError("cannot serve the gate: it needs socket_path or host and port")
            check_host(host)
        self._server = _lib.gate_serve(*self._served, self._place, port or 0)
