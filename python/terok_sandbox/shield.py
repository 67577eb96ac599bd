"""Network policy of a launch, as long as there is no egress firewall.

The capabilities to change the network are always dropped. The host's loopback is opened only by the explicit
``shield_bypass`` argument: in TCP mode the services listen inside the container's own network.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import SandboxConfig

UNFILTERED_NOTE = "terok: network egress of this container is not filtered by this version"
BYPASS_BANNER = "\n".join(
    (
        "!" * 72,
        "!!  shield_bypass is set: this container can reach every network address,",
        "!!  including services on this machine's loopback interface.",
        "!" * 72,
    )
)


def bypass_network_args(gate_port: int | None = None, *, cfg: SandboxConfig | None = None) -> list[str]:
    """podman options that let a rootless container reach the host's loopback; none for root. The port is not used."""
    from .launch import _native, _place

    if cfg is None:
        from .config import SandboxConfig

        cfg = SandboxConfig()
    if os.geteuid() == 0:
        return []
    args = _native().sandbox_network_args(_place(cfg), True)
    return args[: args.index("--cap-drop")]


def pre_start_args(cfg: SandboxConfig) -> list[str]:
    """Network and capability options for one launch; says on the standard streams what they leave open."""
    from .launch import _native, _place

    if cfg.shield_bypass:
        print(BYPASS_BANNER, flush=True)
    else:
        print(UNFILTERED_NOTE, file=sys.stderr, flush=True)
    return _native().sandbox_network_args(_place(cfg), bool(cfg.shield_bypass))
