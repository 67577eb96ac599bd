"""MicroVM containers (krun): the names exist, the engine is not part of this version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terok_native.kept import kept

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.runtime import ContainerRuntime

_UNAVAILABLE = (
    "cannot use krun: microVM containers are not part of this version\nhint: run the agent in an ordinary container"
)


@dataclass(frozen=True, slots=True)
class KrunHostKeypair:
    """Where the host's key for guests lies, and its public line."""

    private_path: Path
    public_path: Path
    public_line: str
    fingerprint: str
    created: bool


def ensure_krun_host_keypair(*, cfg: SandboxConfig | None = None, runtime_dir: Path | None = None) -> KrunHostKeypair:
    """Refuse: see the module."""
    raise SystemExit(_UNAVAILABLE)


@kept
class KrunHost:
    """The host side of microVM containers; every use is refused, see the module."""

    __slots__ = ("_cfg",)

    def __init__(self, *, cfg: SandboxConfig | None = None) -> None:
        self._cfg = cfg

    @property
    def keypair(self) -> KrunHostKeypair:
        """The host's key."""
        return ensure_krun_host_keypair(cfg=self._cfg)

    def runtime(self) -> ContainerRuntime:
        """A runtime that reaches guests over SSH."""
        raise SystemExit(_UNAVAILABLE)

    def launch_args(self) -> list[str]:
        """Podman arguments for a guest."""
        raise SystemExit(_UNAVAILABLE)
