"""The egress firewall of one task, and its hooks.

This version has none. What reads its state answers truthfully that nothing is filtered, and what would change it is
refused.
"""

from __future__ import annotations

from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept
from terok_shield.container import resolve_container_state_dir
from terok_shield.environment import EnvironmentCheck, unfiltered
from terok_shield.state import ShieldState
from terok_util.later import refuse

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

__all__ = [
    "EnvironmentCheck", "ShieldHooks", "ShieldManager", "ShieldRuntime", "ShieldState", "check_environment",
    "resolve_container_state_dir",
]  # fmt: skip

_FIREWALL = "the egress firewall"


@kept
class ShieldRuntime(Enum):
    """What the container runs on."""

    DEFAULT = "default"
    KRUN = "krun"


@kept
class ShieldManager:
    """The firewall of the task whose files lie in *task_dir*."""

    def __init__(
        self, task_dir: Path, cfg: SandboxConfig | None = None, *, runtime: ShieldRuntime = ShieldRuntime.DEFAULT,
        loopback_ports_override: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        self._task_dir, self._cfg = Path(task_dir), cfg

    @property
    def state_dir(self) -> Path:
        """Where the firewall keeps the task's state."""
        return self._task_dir / "shield"

    @property
    def bypass(self) -> bool:
        """Whether containers start without a firewall on purpose."""
        return bool(self._cfg and self._cfg.shield_bypass)

    @cached_property
    def shield(self) -> Any:
        """What command handlers work on; there is nothing in this version."""
        return self

    def pre_start(self, container: str) -> list[str]:
        """Return the firewall's podman options for a new container: none."""
        return []

    def up(self, container: str, container_id: str | None = None) -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    def down(self, container: str, container_id: str | None = None, *, allow_all: bool = False) -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    def quarantine(self, container: str) -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    def interactive_session(self, container: str) -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    def watch_session(self, container: str) -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    def state(self, container: str) -> ShieldState:
        """Return ``DISABLED``: nothing is filtered."""
        return ShieldState.DISABLED

    def status(self) -> dict[str, Any]:
        """Return ``mode``, ``audit_enabled`` and ``profiles`` of a firewall that is not there."""
        return {"mode": "disabled", "audit_enabled": False, "profiles": []}

    def check_environment(self) -> EnvironmentCheck:
        """See :func:`check_environment`."""
        return check_environment(self._cfg)


@kept
class ShieldHooks:
    """The firewall's OCI hooks on this host."""

    @staticmethod
    def install(*, root: bool = False, user: bool = False) -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    @staticmethod
    def uninstall(*, root: bool = False, user: bool = False) -> None:
        """Nothing was installed, so nothing is left."""


def check_environment(cfg: SandboxConfig | None = None) -> EnvironmentCheck:
    """Return what the firewall finds here; nothing is changed, no program is run."""
    return unfiltered()
