"""Verbs that the executor adds to the sandbox's vault group: the route table, and keys that agents left lying about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terok_util.cli_types import CommandDef

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig


def _handle_vault_routes(*, cfg: SandboxConfig | None = None) -> None:
    """Write the route table anew and print its path."""
    from terok_executor.roster import AgentRoster

    print(AgentRoster.shared().ensure_vault_routes(cfg=cfg))


def _handle_vault_clean(*, force: bool = False, cfg: SandboxConfig | None = None) -> None:
    """Delete credential files that an agent left in a shared directory, the host's and every project's own.

    A login that the configuration exposes on purpose stays, unless *force* is given.
    """
    from terok_executor.config import exposed_credential_providers
    from terok_executor.credentials.leaks import mount_trees, remove_leaked_credentials

    kept = frozenset() if force else exposed_credential_providers()
    removed = [found for tree in mount_trees() for found in remove_leaked_credentials(tree, keep=kept)]
    for provider, path in removed:
        print(f"removed {path} ({provider})")
    if not removed:
        print("No leaked credential files found")
    for provider in sorted(kept):
        print(f"the login of {provider} is exposed by configuration and was left alone; --force removes it as well")


#: In this order behind the sandbox's own verbs.
VAULT_EXTENSION: tuple[CommandDef, ...] = (
    CommandDef(name="routes", help="Write the route table anew", handler=_handle_vault_routes),
    CommandDef(name="clean", help="Delete leaked credential files", handler=_handle_vault_clean),
)
