"""A TCP port that is held by a bound, not listening socket."""

from __future__ import annotations

import socket


class ReservedPort:
    """Holds ``port`` on ``host`` until it is closed."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket: socket.socket | None = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.bind((host, 0))
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Gives the port back; may be called again."""
        held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
