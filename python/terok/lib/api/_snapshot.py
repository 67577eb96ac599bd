"""The settings that front ends read, as one value, and the state of one container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_native.kept import kept

__all__ = ["Config", "get_config", "get_container_state"]


@kept
@dataclass(frozen=True)
class Config:
    """Paths and switches at the moment of :func:`get_config`."""

    config_root: Path
    core_state_dir: Path
    """Records of projects and tasks, and the panic lock."""
    runtime_dir: Path
    """Sockets, and the passphrase of this login session."""
    archive_dir: Path
    vault_dir: Path
    user_projects_dir: Path
    """Where new projects go."""
    global_config_path: Path
    public_host: str
    """The name under which web ports are reached."""
    shield_bypass_firewall_no_protection: bool
    tui_default_tmux: bool
    tui_external_editor: bool
    shield_security_hint: str
    """Where to read on about an open firewall."""


def get_config() -> Config:
    """Return what the configuration says now; nothing is created."""
    from terok.lib.core import config, paths

    return Config(
        config_root=paths.config_root(),
        core_state_dir=paths.core_state_dir(),
        runtime_dir=paths.runtime_dir(),
        archive_dir=config.archive_dir(),
        vault_dir=config.vault_dir(),
        user_projects_dir=config.user_projects_dir(),
        global_config_path=config.global_config_path(),
        public_host=config.get_public_host(),
        shield_bypass_firewall_no_protection=config.get_shield_bypass_firewall_no_protection(),
        tui_default_tmux=config.get_tui_default_tmux(),
        tui_external_editor=config.get_tui_external_editor(),
        shield_security_hint=config.SHIELD_SECURITY_HINT,
    )


def get_container_state(cname: str) -> str | None:
    """Return podman's word for the container's state in lower case; ``None`` without such a container or podman."""
    from terok.lib.integrations.sandbox import PodmanRuntime

    try:
        state = PodmanRuntime().container(cname).state
    except (FileNotFoundError, RuntimeError):
        return None
    return state.lower() if state else None
