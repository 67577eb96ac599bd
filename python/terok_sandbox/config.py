"""The sandbox's settings as one frozen value, and the readers of single settings.

Nothing is read at import; constructing :class:`SandboxConfig` reads configuration files and changes nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from terok_native import _lib
from terok_native.kept import kept

from terok_sandbox.paths import config_root, namespace_config_root, runtime_root, state_root, vault_root

if TYPE_CHECKING:
    from terok_sandbox.vault.store.db import CredentialDB

ServicesMode = Literal["tcp", "socket"]
PassphraseSource = Literal["session-file", "systemd-creds", "keyring", "passphrase-command", "config", "prompt"]

#: Where a container finds the sockets of its services.
CONTAINER_RUNTIME_DIR = "/run/terok"
#: What a user puts into ``config.yml`` to leave the socket transport.
SERVICES_TCP_OPTOUT_YAML = "services: {mode: tcp}"

_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|%[a-z]+")


def services_mode() -> ServicesMode:
    """Return ``services.mode``: ``"tcp"`` or ``"socket"``."""
    return _lib.base_setting_section("services")["mode"]


def shield_audit() -> bool:
    """Return ``shield.audit``."""
    return _lib.base_setting_section("shield")["audit"]


def credentials_passphrase() -> str | None:
    """Return ``credentials.passphrase``, the plain-text tier."""
    return _lib.base_setting_section("credentials")["passphrase"]


def credentials_use_keyring() -> bool:
    """Return ``credentials.use_keyring``."""
    return _lib.base_setting_section("credentials")["use_keyring"]


def credentials_passphrase_command() -> str | None:
    """Return ``credentials.passphrase_command``."""
    return _lib.base_setting_section("credentials")["passphrase_command"]


def gate_server_port() -> int | None:
    """Return ``gate_server.port``."""
    return _lib.base_setting_section("gate_server")["port"]


def vault_port() -> int | None:
    """Return ``vault.port``, the broker's."""
    return _lib.base_setting_section("vault")["port"]


def vault_ssh_signer_port() -> int | None:
    """Return ``vault.ssh_signer_port``."""
    return _lib.base_setting_section("vault")["ssh_signer_port"]


def experimental_enabled() -> bool:
    """Return top-level ``experimental``; nothing but a YAML ``true`` counts."""
    return _lib.base_setting_experimental()


def gate_use_personal_ssh_default() -> bool:
    """Return ``ssh.use_personal``; unset or unusable means ``False``."""
    return _lib.base_setting_section("ssh")["use_personal"] is True


# The factories look their reader up at call time, so that a replaced reader counts.
def _default_gate_port() -> int | None:
    return gate_server_port()


def _default_token_broker_port() -> int | None:
    return vault_port()


def _default_ssh_signer_port() -> int | None:
    return vault_ssh_signer_port()


def _default_shield_audit() -> bool:
    return shield_audit()


def _default_credentials_passphrase() -> str | None:
    return credentials_passphrase()


def _default_credentials_use_keyring() -> bool:
    return credentials_use_keyring()


def _default_credentials_passphrase_command() -> str | None:
    return credentials_passphrase_command()


def _default_services_mode() -> ServicesMode:
    return services_mode()


def _default_allow_root() -> bool:
    return os.environ.get("TEROK_ALLOW_ROOT") == "1"


def _default_experimental() -> bool:
    return experimental_enabled()


@kept
@dataclass(frozen=True)
class SandboxConfig:
    """Directories, ports, credentials tiers and transport of one sandbox.

    ``allow_root`` (default: ``TEROK_ALLOW_ROOT=1``) lets root of the host launch; its containers have ids of their own.
    ``shield_bypass`` takes the egress firewall away; only an explicit argument sets it, never a file or a variable.
    """

    state_dir: Path = field(default_factory=state_root)
    runtime_dir: Path = field(default_factory=runtime_root)
    config_dir: Path = field(default_factory=config_root)
    vault_dir: Path = field(default_factory=vault_root)
    gate_port: int | None = field(default_factory=_default_gate_port)
    token_broker_port: int | None = field(default_factory=_default_token_broker_port)
    ssh_signer_port: int | None = field(default_factory=_default_ssh_signer_port)
    shield_profiles: tuple[str, ...] = ("dev-standard",)
    shield_audit: bool = field(default_factory=_default_shield_audit)
    shield_bypass: bool = False
    credentials_passphrase: str | None = field(default_factory=_default_credentials_passphrase, repr=False)
    credentials_use_keyring: bool = field(default_factory=_default_credentials_use_keyring)
    credentials_passphrase_command: str | None = field(default_factory=_default_credentials_passphrase_command)
    services_mode: ServicesMode = field(default_factory=_default_services_mode)
    experimental: bool = field(default_factory=_default_experimental)
    allow_root: bool = field(default_factory=_default_allow_root)

    @property
    def gate_base_path(self) -> Path:
        """Directory of the bare mirrors."""
        return self.state_dir / "gate"

    @property
    def clone_cache_base_path(self) -> Path:
        """Directory of the clone caches."""
        return self.state_dir / "clone-cache"

    @property
    def ssh_keys_dir(self) -> Path:
        """Directory of exported SSH keys."""
        return self.state_dir / "ssh-keys"

    @property
    def shield_profiles_dir(self) -> Path:
        """Directory of the user's firewall profiles."""
        return namespace_config_root() / "shield" / "profiles"

    @property
    def db_path(self) -> Path:
        """The encrypted credential database."""
        return self.vault_dir / "credentials.db"

    @property
    def routes_path(self) -> Path:
        """The broker's route table."""
        return self.vault_dir / "routes.json"

    @property
    def vault_systemd_creds_file(self) -> Path:
        """The passphrase sealed by systemd."""
        return self.vault_dir / "vault.passphrase.cred"

    @property
    def vault_recovery_marker_file(self) -> Path:
        """Marker: the user has confirmed having the recovery key."""
        return self.vault_dir / "vault.recovery_acknowledged"

    @property
    def credential_audit_log_path(self) -> Path:
        """Log of credential uses, one JSON object a line."""
        return self.vault_dir / "credential_audit.jsonl"

    @property
    def vault_socket_path(self) -> Path:
        """Socket of a host-wide broker."""
        return self.runtime_dir / "vault.sock"

    @property
    def vault_pid_path(self) -> Path:
        """Pid file of a host-wide broker."""
        return self.runtime_dir / "vault.pid"

    @property
    def vault_passphrase_file(self) -> Path:
        """The passphrase kept for this login session."""
        return self.runtime_dir / "vault.passphrase"

    @property
    def ssh_signer_socket_path(self) -> Path:
        """Socket of a host-wide SSH signer."""
        return self.runtime_dir / "ssh-agent.sock"

    @property
    def token_file_path(self) -> Path:
        """Tokens of a host-wide gate server (0.7.9)."""
        return self.gate_base_path / "tokens.json"

    @property
    def pid_file_path(self) -> Path:
        """Pid file of a host-wide gate server (0.7.9)."""
        return self.runtime_dir / "gate-server.pid"

    @property
    def gate_socket_path(self) -> Path:
        """Socket of a host-wide gate server (0.7.9)."""
        return self.runtime_dir / "gate-server.sock"

    def ssh_signer_local_socket_path(self, scope: str) -> Path:
        """Return the host-side signer socket of *scope*; raises ``InvalidScopeName`` for an unsafe one."""
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope) or len(scope) > 64:
            from terok_sandbox.vault.store.db import InvalidScopeName

            raise InvalidScopeName(f"unsafe scope {scope!r}")
        return self.runtime_dir / f"ssh-agent-local-{scope}.sock"

    def with_resolved_ports(self) -> SandboxConfig:
        """Return a copy with all three ports set; the object itself in socket mode or when they are set already.

        Ports that are set count as fixed by the user. Claims them in the port registry and writes
        ``port-claims.json`` into the state directory; a conflict is a ``SystemExit``.
        """
        ports = (self.gate_port, self.token_broker_port, self.ssh_signer_port)
        if self.services_mode == "socket" or None not in ports:
            return self
        from terok_sandbox.port_registry import resolve_service_ports

        fixed = [port is not None for port in ports]
        found = resolve_service_ports(
            *ports,
            gate_explicit=fixed[0],
            proxy_explicit=fixed[1],
            ssh_explicit=fixed[2],
            state_dir=self.state_dir,
        )
        return replace(self, gate_port=found.gate, token_broker_port=found.proxy, ssh_signer_port=found.ssh_agent)

    def _tiers(self) -> dict[str, Any]:
        return dict(
            use_keyring=self.credentials_use_keyring,
            config_fallback=self.credentials_passphrase,
            passphrase_file=self.vault_passphrase_file,
            passphrase_command=self.credentials_passphrase_command,
            systemd_creds_file=self.vault_systemd_creds_file,
        )

    def open_credential_db(self, db_path: Path | None = None, *, prompt_on_tty: bool = False) -> Any:
        """Open the vault (or another database) with the first passphrase tier that answers.

        Raises ``NoPassphraseError``, ``WrongPassphraseError`` and the other exceptions of the vault.
        """
        from terok_sandbox.vault.store import db

        return db.open_credential_db(db_path or self.db_path, prompt_on_tty=prompt_on_tty, **self._tiers())

    def open_credential_db_with_source(
        self, db_path: Path | None = None, *, prompt_on_tty: bool = False
    ) -> tuple[CredentialDB, PassphraseSource]:
        """As :meth:`open_credential_db`, with the label of the tier that answered."""
        from terok_sandbox.vault.store import db

        return db.open_credential_db_with_source(db_path or self.db_path, prompt_on_tty=prompt_on_tty, **self._tiers())

    def open_sqlcipher_connection(self, db_path: Path | None = None, **connect_kwargs: Any) -> Any:
        """Open a raw SQL connection to the vault; never asks on the terminal."""
        from terok_sandbox.vault.store import encryption

        opener = getattr(encryption, "open_sqlcipher", None)
        if opener is None:
            raise ImportError("raw SQL connections to the vault are not part of this version")
        passphrase = self.resolve_passphrase()
        if passphrase is None:
            raise encryption.NoPassphraseError(f"cannot open the vault `{db_path or self.db_path}`")
        return opener(db_path or self.db_path, passphrase, **connect_kwargs)

    def resolve_passphrase(self, *, prompt_on_tty: bool = False) -> str | None:
        """Return the passphrase of the first tier that answers, or ``None``; the database stays closed."""
        return self.resolve_passphrase_with_source(prompt_on_tty=prompt_on_tty)[0]

    def resolve_passphrase_with_source(
        self, *, prompt_on_tty: bool = False
    ) -> tuple[str | None, PassphraseSource | None]:
        """As :meth:`resolve_passphrase`, with the label of the tier."""
        from terok_sandbox.vault.store import encryption

        return encryption.resolve_passphrase_with_source(prompt_on_tty=prompt_on_tty, **self._tiers())
