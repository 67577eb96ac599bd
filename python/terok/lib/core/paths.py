"""Directories of this layer. Nothing here creates one.

"Root" means root on the host, as everywhere in the family: root inside a user namespace has a user's directories.
"""

from pathlib import Path

from terok_native import _lib

APP_NAME = "terok"


def config_root() -> Path:
    """Return ``$TEROK_CONFIG_DIR``, ``/etc/terok`` for root, or the user's configuration directory."""
    return _lib.project_place("config_root")


def state_root() -> Path:
    """Return the state root of the family: ``$TEROK_ROOT``, ``paths.root``, or the default."""
    return _lib.project_place("state_root")


def core_state_dir() -> Path:
    """Return ``$TEROK_STATE_DIR``, or ``core`` in the state root."""
    return _lib.project_place("core_state")


def vault_root() -> Path:
    """Return the directory of the vault, the same as :func:`terok.lib.core.config.vault_dir`."""
    from terok.lib.core import config

    return config.vault_dir()


def runtime_root() -> Path:
    """Return ``$TEROK_RUNTIME_DIR``, ``/run/terok`` for root, or ``~/.cache/terok``."""
    return _lib.project_place("runtime_root")


def runtime_dir() -> Path:
    """Return the directory of sockets."""
    return _lib.project_place("runtime")


def acp_socket_path(project_id: str, task_id: str) -> Path:
    """Return the socket of a task's agent endpoint; ``ValueError`` for an identifier that is no plain name."""
    return _lib.project_acp_file(project_id, task_id, "sock")


def acp_bound_path(project_id: str, task_id: str) -> Path:
    """Return the file that says which agent the endpoint is bound to."""
    return _lib.project_acp_file(project_id, task_id, "bound")


def acp_log_path(project_id: str, task_id: str) -> Path:
    """Return the log of a task's agent endpoint."""
    return _lib.project_acp_file(project_id, task_id, "log")
