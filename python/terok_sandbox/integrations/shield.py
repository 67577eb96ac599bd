"""The egress firewall of one task, and its hooks.

This version has none. What reads its state answers truthfully that nothing is filtered, and what would change it is
refused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from terok_native import _lib
from terok_native.kept import kept
from terok_shield.container import resolve_container_state_dir
from terok_shield.environment import EnvironmentCheck, unfiltered
from terok_shield.state import ShieldState
from terok_util.later import refuse
from terok_util.older import also_takes

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

__all__ = [
    "EnvironmentCheck", "ShieldHooks", "ShieldManager", "ShieldRuntime", "ShieldState", "check_environment",
    "resolve_container_state_dir",
]  # fmt: skip

_FIREWALL = "the egress firewall"


_Acts = TypeVar("_Acts", bound=Callable[..., None])


def _finding_the_id(method: _Acts) -> _Acts:
    """Let the method be called without the container's id, as 0.7.9 did; it is looked up then."""

    @wraps(method)
    def call(self: ShieldManager, container: str, container_id: str | None = None, **keywords: Any) -> None:
        method(self, container, container_id or _lib.podman_container_id(container) or "", **keywords)

    return cast("_Acts", call)


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

    @_finding_the_id
    def up(self, container: str, container_id: str) -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    @_finding_the_id
    def down(self, container: str, container_id: str, *, allow_all: bool = False) -> None:
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
    @also_takes("root", "user")
    def install() -> None:
        """Refuse: see the module."""
        raise refuse(_FIREWALL)

    @staticmethod
    @also_takes("root", "user")
    def uninstall() -> None:
        """Nothing was installed, so nothing is left."""


def check_environment(cfg: SandboxConfig | None = None) -> EnvironmentCheck:
    """Return what the firewall finds here; nothing is changed, no program is run."""
    return unfiltered()
