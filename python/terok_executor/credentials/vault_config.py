"""Settings files of agents, pointed at the credential broker: addresses only, never secrets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_executor.roster import AgentRoster


class ConfigPatchError(RuntimeError):
    """A shared settings file could not be changed; the container must not start."""


@dataclass(frozen=True)
class VaultLocation:
    """Where the broker is, as seen from a container: URL and socket path."""

    url: str
    socket: str


def resolve_vault_location(token_broker_port: int | None = None) -> VaultLocation:
    """Return the broker's addresses in a container; *token_broker_port* is given in TCP mode."""
    from terok_executor import vault_addr

    return VaultLocation(vault_addr.container_vault_url(), vault_addr.container_vault_socket(token_broker_port))


def _location_in_use() -> VaultLocation:
    """The addresses of the configured transport; the settings files are shared by all containers."""
    from terok_executor.integrations import sandbox as catalogue

    tcp = catalogue.SandboxConfig().services_mode == "tcp"
    return resolve_vault_location(0 if tcp else None)


def apply_shared_config_patches(
    roster: AgentRoster,
    mounts_base: Path,
    *,
    providers: Iterable[str] | None = None,
    disabled_providers: Iterable[str] | None = None,
) -> None:
    """Withdraw the values of *disabled_providers*, then set those of *providers* (``None``: all that have a patch).

    Raises:
        ConfigPatchError: a file cannot be read or written; nothing of the user's is lost.
    """
    from terok_native import _lib

    from terok_executor.roster.loader import roster_mapping

    with_patch = [name for name, route in roster.vault_routes.items() if route.shared_config_patch]
    wanted = with_patch if providers is None else [name for name in with_patch if name in set(providers)]
    place = _location_in_use() if wanted else VaultLocation("", "")
    _lib.agents_patch_apply(
        roster_mapping(roster), mounts_base, wanted, sorted(disabled_providers or ()), place.url, place.socket
    )


def write_vault_config(provider_name: str) -> None:
    """Point one provider's settings file at the broker and print its path; providers without a patch are passed over.

    Raises:
        ConfigPatchError: the file cannot be changed.
    """
    from terok_native import _lib

    from terok_executor import paths
    from terok_executor.roster.loader import AgentRoster, roster_mapping

    roster, mounts = AgentRoster.shared(), paths.mounts_dir()
    target = _lib.agents_patch_file(roster_mapping(roster), mounts, provider_name)
    if target is None:
        return
    apply_shared_config_patches(roster, mounts, providers={provider_name})
    print(f"{provider_name}: vault settings written to {target}")
