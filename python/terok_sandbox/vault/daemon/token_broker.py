"""The HTTP credential broker: phantom tokens in, real credentials out, toward the provider alone.

The broker is native and runs on a thread of its own; the classes here say what it serves and start and stop it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_sandbox.served import Served, check_host, in_thread

PHANTOM_CREDENTIALS_MARKER = "terok-proxy-phantom-token:vault-handles-real-auth"
"""What a shared Claude login holds in place of its token."""

CODEX_SHARED_OAUTH_MARKER = "terok-proxy-codex-oauth-marker:vault-handles-real-auth"
"""What a shared Codex login holds in place of its tokens."""


@dataclass(frozen=True, slots=True)
class UnixBind:
    """Serve the Unix socket *socket_path*; it is made with mode 0600."""

    socket_path: Path


@dataclass(frozen=True, slots=True)
class TcpBind:
    """Serve *port* of *host*, which must be the IPv4 loopback address; connections of other users are turned away."""

    host: str
    port: int


class VaultProxy(Served):
    """The credential broker of one container.

    *db_path* is the vault, *scope_id* a label for people, *routes_path* the route table (default: the configured one).
    With *audit_path*, a JSON line per request is appended there. *runtime_dir* is where the session passphrase is
    looked for (default: the configured one); OAuth logins are refreshed under locks in ``terok/vault/locks`` below it
    (default: below ``$XDG_RUNTIME_DIR``).
    """

    def __init__(
        self,
        *,
        db_path: Path,
        scope_id: str,
        bind: UnixBind | TcpBind,
        routes_path: Path | None = None,
        audit_path: Path | None = None,
        runtime_dir: Path | None = None,
    ) -> None:
        self._db_path = Path(db_path)
        self._scope_id = scope_id
        self._bind = bind
        self._routes_path = routes_path
        self._audit_path = audit_path
        self._runtime_dir = runtime_dir

    @property
    def bind(self) -> UnixBind | TcpBind:
        """Where the broker listens."""
        return self._bind

    @property
    def scope_id(self) -> str:
        """The label it was made with."""
        return self._scope_id

    async def start(self) -> None:
        """Open the vault, read the routes, bind and serve; starting a running broker does nothing.

        Raises:
            NoPassphraseError: no tier has a passphrase.
            WrongPassphraseError: the passphrase does not fit, or a configured tier failed.
            FileNotFoundError: there is no route table.
            ValueError: the route table is not valid (the text names the route), or the host is not the loopback.
            RuntimeError: the socket's name is taken by a file, or by another broker.
            OSError: binding failed.
        """
        await in_thread(self._start)

    async def stop(self) -> None:
        """Stop serving and close the vault. May be called at any time, also twice.

        Requests under way get a second, a login that its vendor is renewing gets up to five.
        """
        await in_thread(self._stop)

    def _start(self) -> None:
        import logging

        from terok_native import _lib

        from terok_sandbox.config import SandboxConfig

        if self._server is not None:
            return
        bind = self._bind
        if isinstance(bind, TcpBind):
            check_host(bind.host)
        cfg = SandboxConfig() if self._runtime_dir is None else SandboxConfig(runtime_dir=self._runtime_dir)
        db, source = cfg.open_credential_db_with_source(self._db_path)
        try:
            logging.getLogger(__name__).info("the vault passphrase comes from the %s tier", source)
            self._server = _lib.broker_serve(
                db._store,
                self._routes_path or cfg.routes_path,
                self._audit_path,
                self._lock_dir(),
                bind.socket_path if isinstance(bind, UnixBind) else None,
                bind.port if isinstance(bind, TcpBind) else 0,
            )
        except BaseException:
            db.close()
            raise
        self._db = db

    def _lock_dir(self) -> Path:
        # The place is agreed with supervisors of every generation, so that no two refresh one login at a time.
        import os

        base = self._runtime_dir or Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
        return base / "terok" / "vault" / "locks"
