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

from terok_native.kept import kept

from terok_sandbox.older_services import HookedService, sweep_units
from terok_sandbox.vault.daemon.status import VaultStatus

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_LOG = logging.getLogger(__name__)


class VaultUnreachableError(RuntimeError):
    """No container could get at the vault now; ``socket_path`` and ``db_path`` say what was looked at."""

    def __init__(self, *args: object, socket_path: Path | None = None, db_path: Path | None = None) -> None:
        super().__init__(*args)
        self.socket_path = socket_path
        self.db_path = db_path


@kept
class VaultManager(HookedService):
    """The vault of one configuration (default: the host's), as its front ends manage it."""

    _service = "vault"

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

    is_service_active = HookedService.is_socket_installed

    def uninstall_systemd_units(self) -> None:
        """Remove the hooks and units of the older generation; raises ``OSError``."""
        from terok_sandbox.supervisor.install import uninstall_supervisor_hooks

        sweep_units(self._service)
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
