"""What the firewall finds on this host."""

from __future__ import annotations

from dataclasses import dataclass, field

from terok_native.kept import kept


@kept
@dataclass(frozen=True)
class EnvironmentCheck:
    """One look at the host; nothing was changed for it."""

    dns_tier: str = ""
    ok: bool = True
    podman_version: tuple[int, ...] = (0,)
    """Empty of meaning where podman was not asked."""
    hooks: str = "per-container"
    health: str = "ok"
    """``ok``, ``setup-needed``, ``stale-hooks`` or ``bypass``."""
    issues: list[str] = field(default_factory=list)
    """One line each, for a person."""
    needs_setup: bool = False
    setup_hint: str = ""


def unfiltered() -> EnvironmentCheck:
    """What holds in this version: containers run, and nothing filters what they send."""
    return EnvironmentCheck(
        ok=False, hooks="none", health="bypass", issues=["network egress of containers is not filtered by this version"]
    )
