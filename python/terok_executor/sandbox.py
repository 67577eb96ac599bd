"""Makes the sandbox layer ready for agents: the route table first, then the layer's own set-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig


def ensure_sandbox_ready(*, cfg: SandboxConfig | None = None, no_vault: bool = False, **aggregator_kwargs: Any) -> None:
    """Write the route table (unless *no_vault*), then run the sandbox set-up with all other arguments.

    Raises:
        SystemExit: a phase failed (status 1) or a manual step on the host is needed (status 5).
    """
    from terok_sandbox._stage import stage_line
    from terok_sandbox.commands import _handle_sandbox_setup

    if not no_vault:
        from terok_executor.roster import AgentRoster

        with stage_line("Vault routes") as line:
            AgentRoster.shared().ensure_vault_routes(cfg=cfg)
            line.ok("regenerated")
    _handle_sandbox_setup(cfg=cfg, no_vault=no_vault, **aggregator_kwargs)
