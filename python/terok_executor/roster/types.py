"""Values of the roster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

HelpSection = Literal["agent", "dev_tool"]
HELP_SECTIONS: tuple[HelpSection, ...] = ("agent", "dev_tool")


@dataclass(frozen=True)
class MountDef:
    """A directory of the host that all containers share.

    ``credential_file`` is relative to it and mounted read-only over it; ``provider`` is the entry it authenticates.
    A container gets a copy without the paths in ``private``; the keys in ``flows_back``, by file, are taken over from
    the copy after the container's end when they have the shape given (``flag``, ``number``, ``word``, ``words``,
    ``login``).
    """

    host_dir: str
    container_path: str
    label: str
    credential_file: str = ""
    provider: str = ""
    private: tuple[str, ...] = ()
    flows_back: dict[str, dict[str, str]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class VaultRoute:
    """How requests of an entry reach their upstream, and which variables tell the container."""

    provider: str
    route_prefix: str
    upstream: str
    path_upstreams: dict[str, str] = field(default_factory=dict)
    oauth_extra_headers: dict[str, str] = field(default_factory=dict)
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    credential_type: str = "api_key"
    credential_file: str = ""
    phantom_env: dict[str, bool] = field(default_factory=dict)
    oauth_phantom_env: dict[str, bool] = field(default_factory=dict)
    base_url_env: str = ""
    socket_env: str = ""
    shared_config_patch: dict | None = None
    oauth_refresh: dict | None = None
    shared_domain: bool = False
    deny: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class InstallSpec:
    """How an entry gets into the image: what it needs first, and Dockerfile fragments."""

    depends_on: tuple[str, ...] = ()
    run_as_root: str = ""
    run_as_dev: str = ""


@dataclass(frozen=True)
class HelpSpec:
    """An entry's line in the in-container help, and the list that shows it."""

    label: str = ""
    section: HelpSection = "agent"


@dataclass(frozen=True)
class SidecarSpec:
    """A tool container that gets the real credential: variable name to key of the stored record."""

    tool_name: str
    env_map: dict[str, str] = field(default_factory=dict)
