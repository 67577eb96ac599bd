"""The SSH signer on the host: an SSH agent whose keys never leave the vault.

Containers get theirs from their supervisor; the functions here are for programs on the host. The vault is opened before
anything is bound, and the socket is there when a function returns, so that nobody has to wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_sandbox.served import Served, check_host

# For annotations only.
if TYPE_CHECKING:
    from types import TracebackType


class SSHSigner(Served):
    """A signer that serves until it is stopped; also a context manager."""

    def __init__(self, db: Any, server: Any, socket_path: Path | None) -> None:
        self._db = db
        self._server = server
        self._socket_path = socket_path
        self._port: int | None = server.port

    @property
    def socket_path(self) -> Path | None:
        """The socket for ``SSH_AUTH_SOCK`` (only a local signer's: others want a token first); ``None`` on a port."""
        return self._socket_path

    @property
    def port(self) -> int | None:
        """The loopback port, also where 0 was asked for; ``None`` on a socket."""
        return self._port

    def stop(self) -> None:
        """Stop serving, take the socket away and close the vault; requests under way get a second. May be repeated."""
        self._stop()

    close = stop

    def __enter__(self) -> SSHSigner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_ssh_signer(
    db_path: Path, host: str | None = None, port: int | None = None, socket_path: Path | None = None
) -> SSHSigner:
    """Serve every client that shows a live ``ssh`` token, with the keys of the token's scope.

    A client sends four bytes with the token's length (most significant first, 1 to 1024) and the token, then speaks the
    agent protocol. *socket_path* (made with mode 0600) wins over *host* and *port*; *host* is the IPv4 loopback
    address, and *port* 0 takes any.

    Raises:
        ValueError: neither socket nor port is given, or the host is not the loopback address.
        NoPassphraseError, WrongPassphraseError: the vault does not open.
        RuntimeError: the socket's name is taken by a file, or by another server.
        OSError: binding failed.
    """
    if socket_path is None:
        if port is None:
            raise ValueError("cannot start the ssh signer: neither a socket nor a port is given")
        if host is not None:
            check_host(host)
    return _start(db_path, None, socket_path, port or 0)


def start_ssh_signer_local(*, scope: str, socket_path: Path, db_path: Path) -> SSHSigner:
    """Serve the keys of *scope* on *socket_path*, made with mode 0600, to everybody who can open it.

    For programs of the host: `socket_path` is what ``SSH_AUTH_SOCK`` names. A scope without keys is served too, and
    offers none.

    Raises:
        InvalidScopeName: the scope is not well formed.
        NoPassphraseError, WrongPassphraseError: the vault does not open; nobody is asked on the terminal.
        RuntimeError: the socket's name is taken by a file, or by another server.
        OSError: binding failed.
    """
    from terok_native import _lib

    _lib.vault_check_scope(scope)
    return _start(db_path, scope, socket_path, 0)


def _start(db_path: Path, scope: str | None, socket_path: Path | None, port: int) -> SSHSigner:
    from terok_native import _lib

    from terok_sandbox.config import SandboxConfig

    db = SandboxConfig().open_credential_db(Path(db_path))
    try:
        server = _lib.signer_serve(db._store, scope, socket_path, port)
    except BaseException:
        db.close()
        raise
    return SSHSigner(db, server, None if socket_path is None else Path(socket_path))
