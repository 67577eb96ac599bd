"""What the firewall finds on this host."""

from __future__ import annotations

from dataclasses import dataclass, field

from terok_native.kept import kept


@kept
@dataclass(frozen=True)
class EnvironmentCheck:
    """``health``: ``ok``, ``setup-needed``, ``stale-hooks`` or ``bypass``; ``issues``: one line each."""

    dns_tier: str = ""
    ok: bool = True
    podman_version: tuple[int, ...] = (0,)
    hooks: str = "per-container"
    health: str = "ok"
    issues: list[str] = field(default_factory=list)
    needs_setup: bool = False
    setup_hint: str = ""


def unfiltered() -> EnvironmentCheck:
    """What holds in this version: containers run, and nothing filters what they send."""
    return EnvironmentCheck(
        ok=False, hooks="none", health="bypass", issues=["network egress of containers is not filtered by this version"]
    )
