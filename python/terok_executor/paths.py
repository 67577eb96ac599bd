"""Directories of the executor. None of these functions creates anything."""

from __future__ import annotations

import os
from pathlib import Path

from terok_util.paths import namespace_config_dir, namespace_state_dir


def state_root() -> Path:
    """Return ``$TEROK_EXECUTOR_STATE_DIR``, else ``executor`` below the family's state directory."""
    return namespace_state_dir("executor", env_var="TEROK_EXECUTOR_STATE_DIR")


def mounts_dir() -> Path:
    """Return the directory that holds the agents' shared settings: ``mounts`` below ``$TEROK_SANDBOX_LIVE_DIR``, else
    ``paths.sandbox_live_dir`` of the configuration, else ``sandbox-live`` of the family's state directory."""
    if not os.environ.get("TEROK_SANDBOX_LIVE_DIR") and (chosen := _configured("sandbox_live_dir")):
        return chosen / "mounts"
    return namespace_state_dir("sandbox-live", env_var="TEROK_SANDBOX_LIVE_DIR") / "mounts"


def project_mounts_dirs() -> list[Path]:
    """Return the existing shared directories of projects that keep their credentials apart, sorted."""
    homes = {namespace_config_dir("projects"), _configured("user_projects_dir") or _user_config() / "projects"}
    return sorted({path for home in homes for path in home.glob("*/mounts") if path.is_dir()})


def _configured(key: str) -> Path | None:
    from terok_util.paths import read_config_section

    value = read_config_section("paths").get(key)
    return Path(value).expanduser() if value else None


def _user_config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "terok"


def user_agents_dir() -> Path:
    """Return the directory of the user's own roster files."""
    return namespace_config_dir("agent") / "agents"
