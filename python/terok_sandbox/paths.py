"""Directories of the sandbox; none of these functions creates anything."""

from pathlib import Path

from terok_native import _lib
from terok_util import paths as _namespace


def config_root() -> Path:
    """Return ``$TEROK_SANDBOX_CONFIG_DIR`` or the configuration directory ``sandbox``."""
    return _namespace.namespace_config_dir("sandbox", env_var="TEROK_SANDBOX_CONFIG_DIR")


def state_root() -> Path:
    """Return ``$TEROK_SANDBOX_STATE_DIR`` or the state directory ``sandbox``."""
    return _namespace.namespace_state_dir("sandbox", env_var="TEROK_SANDBOX_STATE_DIR")


def runtime_root() -> Path:
    """Return ``$TEROK_SANDBOX_RUNTIME_DIR`` or the runtime directory ``sandbox``."""
    return _namespace.namespace_runtime_dir("sandbox", env_var="TEROK_SANDBOX_RUNTIME_DIR")


def vault_root() -> Path:
    """Return ``$TEROK_VAULT_DIR``, the outdated ``$TEROK_CREDENTIALS_DIR``, or the state directory ``vault``.

    Says once on stderr when the outdated variable is used, or when credentials still lie in an old directory.
    """
    return _lib.base_vault_dir(_namespace._is_root())


def namespace_config_root() -> Path:
    """Return ``$TEROK_CONFIG_DIR`` or the family's configuration directory; shield profiles live there."""
    return _namespace.namespace_config_dir("", env_var="TEROK_CONFIG_DIR")


def port_registry_dir() -> Path:
    """Return ``$TEROK_PORT_REGISTRY_DIR``, ``paths.port_registry_dir``, or ``/tmp/terok-ports``."""
    return _lib.base_port_registry_dir()


def plaintext_passphrase_config_path() -> Path | None:
    """Return the highest-priority configuration file that holds a vault passphrase in plain text, or ``None``."""
    return _lib.base_config_passphrase_file(_namespace._is_root())
