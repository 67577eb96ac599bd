"""The roster as callers see it: a frozen value with lookups; loading and checking happen in the engine."""

from __future__ import annotations

import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept

from terok_executor.credentials.provider import AuthProvider
from terok_executor.provider.providers import AgentProvider, provider_from, resolve_provider
from terok_executor.roster.types import HelpSpec, InstallSpec, MountDef, SidecarSpec, VaultRoute

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.doctor import DoctorCheck

#: Version of the roster file format that this program writes and understands.
ROSTER_VERSION = 1


def _user_agents_dir() -> Path:
    from terok_executor.paths import user_agents_dir

    return user_agents_dir()


@kept
@dataclass(frozen=True)
class AgentRoster:
    """All entries by aspect; every table is in sorted name order, and properties give copies."""

    # Who works, and how they authenticate.
    _providers: dict[str, AgentProvider] = field(default_factory=dict)
    _auth_providers: dict[str, AuthProvider] = field(default_factory=dict)
    # Where their requests go.
    _vault_routes: dict[str, VaultRoute] = field(default_factory=dict)
    _sidecar_specs: dict[str, SidecarSpec] = field(default_factory=dict)
    # What the image needs.
    _installs: dict[str, InstallSpec] = field(default_factory=dict)
    _helps: dict[str, HelpSpec] = field(default_factory=dict)
    # What the host lends.
    _mounts: tuple[MountDef, ...] = ()
    # Names, sorted.
    _agent_names: tuple[str, ...] = ()
    _all_names: tuple[str, ...] = ()
    # Entries with a web page of their own.
    _web_ingress: frozenset[str] = frozenset()

    # -- views -------------------------------------------------------------------------------------------------------

    @property
    def providers(self) -> dict[str, AgentProvider]:
        """Agents that can be asked to work."""
        return dict(self._providers)

    @property
    def auth_providers(self) -> dict[str, AuthProvider]:
        """Entries a user can authenticate with."""
        return dict(self._auth_providers)

    @property
    def vault_routes(self) -> dict[str, VaultRoute]:
        """Entries whose requests go through the credential broker."""
        return dict(self._vault_routes)

    @property
    def sidecar_specs(self) -> dict[str, SidecarSpec]:
        """Tools that run in a container of their own with the real credential."""
        return dict(self._sidecar_specs)

    @property
    def installs(self) -> dict[str, InstallSpec]:
        """Entries that can be put into an image."""
        return dict(self._installs)

    @property
    def helps(self) -> dict[str, HelpSpec]:
        """Lines of the in-container help."""
        return dict(self._helps)

    @property
    def mounts(self) -> tuple[MountDef, ...]:
        """Shared directories, one per host directory."""
        return self._mounts

    @property
    def agent_names(self) -> tuple[str, ...]:
        """Names of the agents."""
        return self._agent_names

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of agents and tools."""
        return self._all_names

    @property
    def web_ingress(self) -> frozenset[str]:
        """Entries that can be reached from a browser."""
        return self._web_ingress

    # -- lookups -----------------------------------------------------------------------------------------------------

    def get_provider(self, name: str | None, *, default_agent: str | None = None) -> AgentProvider:
        """Return an agent; an empty *name* means *default_agent*, then ``claude``. Unknown: ``SystemExit``."""
        return resolve_provider(self._providers, name, default_agent=default_agent)

    def get_auth_provider(self, name: str) -> AuthProvider:
        """Return how to authenticate with an entry; ``SystemExit`` when it has no such section."""
        return _found(self._auth_providers, name, "Unknown auth provider")

    def get_sidecar_spec(self, name: str) -> SidecarSpec:
        """Return the tool container of an entry; ``SystemExit`` when it has none."""
        return _found(self._sidecar_specs, name, "No sidecar config for")

    def listing(self, *, show_all: bool = False) -> list[tuple[str, str, str]]:
        """Return ``(name, label, kind)`` of the agents, with *show_all* also of the tools, sorted by name."""
        names = self._all_names if show_all else self._agent_names
        entries = _entries()
        return [(name, *self._label_and_kind(name, entries)) for name in sorted(names)]

    def _label_and_kind(self, name: str, entries: dict[str, dict[str, str]]) -> tuple[str, str]:
        known = entries.get(name, {})
        provider = self._providers.get(name) or self._auth_providers.get(name)
        label = provider.label if provider else known.get("label", name)
        return label, known.get("kind", "native" if name in self._agent_names else "tool")

    # -- selection ---------------------------------------------------------------------------------------------------

    @staticmethod
    def parse_selection(raw: str) -> str | tuple[str, ...]:
        """Split ``name,-name,all`` into lower-case tokens, or return ``"all"``; says nothing about validity."""
        from terok_native import _lib

        tokens = _lib.agents_selection_parse(raw)
        return "all" if tokens is None else tuple(tokens)

    def resolve_selection(self, selection: str | tuple[str, ...]) -> tuple[str, ...]:
        """Return the sorted names a selection stands for, dependencies included.

        Raises:
            TypeError: a text other than ``"all"``.
            ValueError: unknown names, or a dependency that cannot be installed.
        """
        if isinstance(selection, str) and selection != "all":
            raise TypeError(f"a selection is 'all' or a tuple of names, not the text {selection!r}")
        from terok_native import _lib

        tokens = None if isinstance(selection, str) else [str(token) for token in selection]
        return tuple(_lib.agents_selection_resolve(tokens, _plain(self._installs)))

    def validate_selection(self, raw: str) -> None:
        """Check a selection text; an invalid one ends the program with status 2 and a line on stderr."""
        try:
            self.resolve_selection(self.parse_selection(raw))
        except ValueError as error:
            print(f"Invalid agent selection: {error}", file=sys.stderr)
            raise SystemExit(2) from error

    def prompt_selection(self) -> str:
        """Show what can be installed and read a selection; empty means ``"all"``."""
        print("Agents:")
        for name in sorted(self._agent_names):
            print(f"  {name:<12} {self._providers[name].label}")
        try:
            answer = input("Which ones? (names with commas, -name to leave one out, empty for all): ")
        except EOFError:
            text = "no selection was given\nhint: pass it as an argument, for example `claude,codex`"
            raise SystemExit(text) from None
        return answer.strip() or "all"

    # -- derived -----------------------------------------------------------------------------------------------------

    def generate_routes_json(self) -> str:
        """Return the broker's route table: an object by provider, indent 2. ``ValueError`` for a prefix used twice."""
        from terok_native import _lib

        return _lib.agents_routes_json(roster_mapping(self)).rstrip("\n")

    def ensure_vault_routes(self, cfg: SandboxConfig | None = None) -> Path:
        """Make ``cfg.routes_path`` hold the route table and return the path; 0600, whole or not at all.

        A file that says so already is left as it is.
        """
        return _write_routes(cfg, self.generate_routes_json() + "\n")

    def collect_all_auto_approve_env(self) -> dict[str, str]:
        """Return the auto-approve variables of all agents; ``ValueError`` when two disagree."""
        from terok_native import _lib

        return _lib.agents_auto_approve(roster_mapping(self))

    def collect_opencode_provider_env(self) -> dict[str, str]:
        """Return the launcher variables of all OpenCode backends."""
        found: dict[str, str] = {}
        for name, provider in self._providers.items():
            if provider.opencode_config is not None:
                found |= provider.opencode_config.to_env(name)
        return found

    def doctor_checks(self, *, token_broker_port: int | None = None) -> list[DoctorCheck]:
        """Return the health checks of an agent's container; *token_broker_port* is given in TCP mode."""
        from terok_executor.doctor import container_checks

        return container_checks(self, token_broker_port=token_broker_port)

    @staticmethod
    def shared() -> AgentRoster:
        """Return the roster of this process; a failed load is tried again."""
        global _shared
        with _loading:
            if _shared is None:
                _shared = load_roster()
            return _shared


_loading = threading.Lock()
_shared: AgentRoster | None = None


def _found(table: dict[str, Any], name: str, complaint: str) -> Any:
    if name not in table:
        raise SystemExit(f"{complaint} {name!r}; known: {', '.join(sorted(table))}")
    return table[name]


def load_roster() -> AgentRoster:
    """Load bundled and user files; ``ValueError`` names file, agent and key of an entry that breaks the format."""
    return _load(strict=True)


def refresh_vault_routes(cfg: SandboxConfig | None = None) -> Path:
    """Make ``cfg.routes_path`` hold the routes of the bundled and user files as they are now, and return the path."""
    from terok_native import _lib

    # The engine takes the mapping as it gave it; objects of the roster would be made only to be taken apart again.
    return _write_routes(cfg, _lib.agents_routes_json(_read(strict=True)))


def _write_routes(cfg: SandboxConfig | None, text: str) -> Path:
    from terok_native import _lib

    from terok_executor.integrations import sandbox as catalogue

    path = Path((cfg or catalogue.SandboxConfig()).routes_path)
    _lib.agents_write_private(path, text, only_if_changed=True)
    return path


def _load(*, strict: bool) -> AgentRoster:
    return _from_mapping(_read(strict=strict))


def _read(*, strict: bool) -> dict[str, Any]:
    from terok_native import _lib

    loaded, warnings = _lib.agents_roster_load(_user_agents_dir(), strict)
    for line in warnings:
        print(line, file=sys.stderr)
    return loaded


def _entries() -> dict[str, dict[str, str]]:
    """Label and kind of every entry; warnings were given when the roster was loaded."""
    from terok_native import _lib

    return _lib.agents_roster_load(_user_agents_dir(), False)[0]["entries"]


def _from_mapping(loaded: dict[str, Any]) -> AgentRoster:
    def table(key: str, make: Any) -> dict[str, Any]:
        return {name: make(fields) for name, fields in loaded[key].items()}

    return AgentRoster(
        _providers=table("providers", provider_from),
        _auth_providers=table("auth_providers", AuthProvider.from_mapping),
        _vault_routes=table("vault_routes", lambda fields: VaultRoute(**fields)),
        _sidecar_specs=table("sidecar_specs", lambda fields: SidecarSpec(**fields)),
        _installs=table("installs", lambda f: InstallSpec(tuple(f["depends_on"]), f["run_as_root"], f["run_as_dev"])),
        _helps=table("helps", lambda fields: HelpSpec(**fields)),
        _mounts=tuple(MountDef(**{**fields, "private": tuple(fields["private"])}) for fields in loaded["mounts"]),
        _agent_names=tuple(loaded["agent_names"]),
        _all_names=tuple(loaded["all_names"]),
        _web_ingress=frozenset(loaded["web_ingress"]),
    )


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    return {name: asdict(value) for name, value in table.items()}


def roster_mapping(roster: AgentRoster) -> dict[str, Any]:
    """Return the roster as plain mappings, as the engine takes it."""
    return {
        "providers": _plain(roster.providers),
        "auth_providers": _plain(roster.auth_providers),
        "vault_routes": _plain(roster.vault_routes),
        "sidecar_specs": _plain(roster.sidecar_specs),
        "installs": _plain(roster.installs),
        "helps": _plain(roster.helps),
        "mounts": [asdict(mount) for mount in roster.mounts],
        "agent_names": list(roster.agent_names),
        "all_names": list(roster.all_names),
        "web_ingress": sorted(roster.web_ingress),
    }
