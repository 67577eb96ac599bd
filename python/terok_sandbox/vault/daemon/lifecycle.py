"""The management names of the generation with one vault service, over the model of one supervisor per container.

There is nothing to start: a supervisor opens the vault when its container runs. "Installed" therefore means that the
OCI hooks are, "stop" means that running supervisors drop the vault and its key.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_sandbox.vault.daemon.status import VaultStatus

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_LOG = logging.getLogger(__name__)
#: Only files with this mark in their first line were written by the generation that had them.
_MARK = "# terok-vault-version:"
_UNITS = ("terok-vault.socket", "terok-vault.service", "terok-vault-socket.service")


class VaultUnreachableError(RuntimeError):
    """No container could get at the vault now; ``socket_path`` and ``db_path`` say what was looked at."""

    def __init__(self, *args: object, socket_path: Path | None = None, db_path: Path | None = None) -> None:
        super().__init__(*args)
        self.socket_path = socket_path
        self.db_path = db_path


class VaultManager:
    """The vault of one configuration (default: the host's), as its front ends manage it."""

    def __init__(self, cfg: SandboxConfig | None = None) -> None:
        from terok_sandbox.config import SandboxConfig

        self._cfg = cfg or SandboxConfig()

    @property
    def token_broker_port(self) -> int | None:
        """Port that the configuration fixes for the broker; ``None`` in socket mode."""
        return None if self._cfg.services_mode == "socket" else self._cfg.token_broker_port

    @property
    def ssh_signer_port(self) -> int | None:
        """Port that the configuration fixes for the SSH signer; ``None`` in socket mode."""
        return None if self._cfg.services_mode == "socket" else self._cfg.ssh_signer_port

    def get_status(self) -> VaultStatus:
        """Look at hooks, route table and vault; trouble with the vault is told and never raised."""
        from terok_sandbox.paths import plaintext_passphrase_config_path

        cfg = self._cfg
        installed = self._hooks_problem() is None
        found: dict[str, Any] = _look_into(cfg)
        opens = installed and found.pop("opens")
        found.pop("opens", None)
        return VaultStatus(
            mode="daemon" if installed else "none",
            running=opens,
            healthy=opens,
            socket_path=cfg.vault_socket_path,
            db_path=cfg.db_path,
            routes_path=cfg.routes_path,
            routes_configured=_count_routes(cfg.routes_path),
            transport=cfg.services_mode,
            plaintext_passphrase_path=plaintext_passphrase_config_path(),
            **found,
        )

    def ensure_reachable(self) -> None:
        """Return when a container started now could use the vault.

        Raises:
            VaultUnreachableError: the hooks are not installed, or the vault does not open; the text says which.
        """
        problem = self._hooks_problem()
        if problem is None:
            try:
                self._cfg.open_credential_db().close()
                return
            except (RuntimeError, OSError) as error:
                problem = str(error)
        raise VaultUnreachableError(problem, socket_path=self._cfg.vault_socket_path, db_path=self._cfg.db_path)

    def _hooks_problem(self) -> str | None:
        from terok_sandbox.supervisor.install import check_supervisor_hooks

        return check_supervisor_hooks()

    def is_systemd_available(self) -> bool:
        """Return whether the user's service manager can be asked; its answer does not matter."""
        import subprocess

        argv = ["systemctl", "--user", "is-system-running"]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode not in (124, 127)

    def is_socket_installed(self) -> bool:
        """Return whether the hooks are installed."""
        return self._hooks_problem() is None

    is_socket_active = is_service_active = is_daemon_running = is_socket_installed

    def install_systemd_units(self) -> None:
        """Install the hooks and remove units of the older generation; raises ``OSError`` or ``RuntimeError``."""
        from terok_sandbox.supervisor.install import install_supervisor_hooks

        install_supervisor_hooks()
        _sweep_units()

    def uninstall_systemd_units(self) -> None:
        """Remove the hooks and units of the older generation; raises ``OSError``."""
        from terok_sandbox.supervisor.install import uninstall_supervisor_hooks

        _sweep_units()
        uninstall_supervisor_hooks()

    def start_daemon(self) -> None:
        """Install the hooks where they are missing and let running supervisors open the vault again."""
        from terok_native import _lib

        if self._hooks_problem() is not None:
            self.install_systemd_units()
        _lib.supervisor_tell_all(False, self._cfg.state_dir)

    def stop_daemon(self) -> None:
        """Make every running supervisor close the vault and wipe its key.

        They serve as locked until a passphrase tier changes, :meth:`start_daemon` is called or the vault is unlocked
        again. Containers that start later open it as usual.

        Raises:
            RuntimeError: a supervisor could not be told; the text names its container.
        """
        from terok_native import _lib

        told = _lib.supervisor_tell_all(True, self._cfg.state_dir)
        if failed := [f"`{container[:12]}`: {why}" for container, why in told if why]:
            raise RuntimeError("cannot make a supervisor close the vault: " + "; ".join(failed))


def _look_into(cfg: SandboxConfig) -> dict[str, Any]:
    """Open the vault without making one; what it holds, and whether it opens."""
    from terok_sandbox.vault.store.encryption import NoPassphraseError, WrongPassphraseError

    found: dict[str, Any] = {"credentials_stored": (), "ssh_keys_stored": 0, "passphrase_source": None, "opens": False}
    try:
        if not cfg.db_path.exists():
            source = cfg.resolve_passphrase_with_source()[1]
            return found | {"passphrase_source": source, "opens": source is not None}
        db, source = cfg.open_credential_db_with_source()
        with db:
            found |= {"credentials_stored": tuple(db.list_credentials("default")), "opens": True}
            scopes = db.list_scopes_with_ssh_keys()
            keys = sum(len(db.list_ssh_keys_for_scope(scope)) for scope in scopes)
            return found | {"ssh_keys_stored": keys, "passphrase_source": source}
    except (NoPassphraseError, WrongPassphraseError):
        return found | {"locked": cfg.db_path.exists()}
    except (RuntimeError, OSError) as error:
        _LOG.warning("the vault cannot be looked into: %s", error)
        return found


def _count_routes(path: Path) -> int:
    with suppress(OSError, ValueError):
        routes = json.loads(path.read_text(encoding="utf-8"))
        return len(routes) if isinstance(routes, dict) else 0
    return 0


def _sweep_units() -> None:
    """Remove unit files of the older generation that carry its mark; the service manager is told where it is there."""
    import os
    import subprocess

    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    ours = []
    for name in _UNITS:
        path = Path(home, "systemd", "user", name)
        with suppress(OSError, UnicodeDecodeError):
            if not path.is_symlink() and path.read_text(encoding="utf-8").startswith(_MARK):
                ours.append(path)
    if not ours:
        return
    for argv in (["disable", "--now", *(path.name for path in ours)], ["daemon-reload"]):
        if argv[0] == "daemon-reload":
            for path in ours:
                path.unlink(missing_ok=True)
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["systemctl", "--user", *argv], capture_output=True, timeout=30)
