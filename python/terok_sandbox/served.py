"""What the native services have in common when they are started without a supervisor.

Each runs on a thread of its own and listens on a Unix socket or on a port of the IPv4 loopback, nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# For annotations only: importing this here would cost every caller.
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOPBACK = "127.0.0.1"


class Served:
    """A native server, and the vault that it reads from, if any: they end together."""

    _db: Any = None
    _server: Any = None

    def _stop(self) -> None:
        server, db, self._server, self._db = self._server, self._db, None, None
        if server is not None:
            server.stop()
        if db is not None:
            db.close()


def check_host(host: str) -> None:
    """Raise ``ValueError`` for anything but the loopback address."""
    if host != _LOOPBACK:
        raise ValueError(f"cannot serve on `{host}`: only {_LOOPBACK} is allowed")


async def in_thread(work: Callable[[], None]) -> None:
    """Run what blocks outside the event loop."""
    # Imported late: constants beside the services are wanted by programs that never run an event loop.
    import asyncio

    await asyncio.get_running_loop().run_in_executor(None, work)
