"""Directories of the executor. None of these functions creates anything."""

from __future__ import annotations

from pathlib import Path

from terok_util.paths import namespace_config_dir, namespace_state_dir


def state_root() -> Path:
    """Return ``$TEROK_EXECUTOR_STATE_DIR``, else ``executor`` below the family's state directory."""
    return namespace_state_dir("executor", env_var="TEROK_EXECUTOR_STATE_DIR")


def mounts_dir() -> Path:
    """Return the directory that holds the agents' shared settings: ``<sandbox-live>/mounts``."""
    return namespace_state_dir("sandbox-live", env_var="TEROK_SANDBOX_LIVE_DIR") / "mounts"


def user_agents_dir() -> Path:
    """Return the directory of the user's own roster files."""
    return namespace_config_dir("agent") / "agents"
