"""The roster file format, version 1, as pydantic models.

The engine validates on its own when it loads; these models are for programs that check or generate files. Unknown keys
are errors, and scalars are not converted.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["ROSTER_VERSION", "RawAgentYaml", "VaultRouteEntry"]

#: Version of the format.
ROSTER_VERSION = 1


AuthMode = Literal["oauth", "api_key"]
#: File below the shared directory, key of its JSON object, shape of the value.
FlowsBack = dict[str, dict[str, Literal["flag", "number", "word", "words", "login"]]]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class GitIdentity(_Section):
    """Author of the agent's commits; the defaults are derived from the entry's name."""

    name: str | None = None
    email: str | None = None


class Headless(_Section):
    """How the agent is run without a person; an empty ``prompt_flag`` makes the prompt positional."""

    subcommand: str | None = None
    prompt_flag: str = "-p"
    model_flag: str | None = None
    max_turns_flag: str | None = None
    verbose_flag: str | None = None
    output_format_flags: list[str] = Field(default_factory=list)


class AutoApprove(_Section):
    """What turns the agent's own questions off in an unrestricted run."""

    env: dict[str, str] = Field(default_factory=dict)
    flags: list[str] = Field(default_factory=list)


class Session(_Section):
    """How a conversation is taken up again."""

    supports_resume: bool = False
    supports_hook: bool = False
    resume_flag: str | None = None
    continue_flag: str | None = None
    session_file: str | None = None


class Capabilities(_Section):
    """Abilities that only some agents have."""

    agents_json: bool = False
    add_dir: bool = False
    log_format: Literal["plain", "claude-stream-json"] = "plain"


class Wrapper(_Section):
    """Limits of the shell function around the agent."""

    refuse_subcommands: list[str] = Field(default_factory=list)


class OpenCode(_Section):
    """An OpenAI-compatible backend."""

    display_name: str
    base_url: str
    # Models in the order they are tried.
    preferred_model: str
    fallback_model: str
    # Prefix of ``_API_KEY``, and a directory below the home directory.
    env_var_prefix: str
    config_dir: str
    auth_key_url: str
    api_key_hint: str | None = None


class AuthKey(_Section):
    """A key that is typed into a container's prompt."""

    key_url: str
    env_var: str
    config_path: str
    printf_template: str
    label: str | None = None
    tool_name: str | None = None


class Auth(_Section):
    """How the user authenticates; ``host_dir`` is one path segment."""

    host_dir: str
    container_mount: str
    # Paths that no other container gets, and what is taken over from a container's copy.
    private: list[str] = Field(default_factory=list)
    flows_back: FlowsBack = Field(default_factory=dict)
    command: list[str] | None = None
    auth_key: AuthKey | None = None
    banner_hint: str = ""
    api_key_hint: str = ""
    extra_run_args: list[str] = Field(default_factory=list)
    modes: list[AuthMode] = Field(default=["api_key"])
    post_capture_state: Annotated[
        dict[str, dict[str, Any]], BeforeValidator(lambda value: {} if value is None else value)
    ] = Field(default_factory=dict)


class OauthRefresh(_Section):
    """Where an OAuth credential is refreshed."""

    token_url: str
    client_id: str
    scope: str | None = None


class VaultRouteEntry(_Section):
    """How requests of an entry reach their upstream."""

    route_prefix: str
    upstream: str
    # Other upstreams for paths that begin so.
    path_upstreams: dict[str, str] = Field(default_factory=dict)
    oauth_extra_headers: dict[str, str] = Field(default_factory=dict)
    # ``dynamic`` lets the broker choose by credential type.
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    # What is stored, and in which file of the shared directory a login would leave it.
    credential_type: Literal["api_key", "oauth", "oauth_token", "pat"] = "api_key"
    credential_file: str = ""
    # Variables that get the phantom token, for keys and for logins.
    phantom_env: dict[str, bool] = Field(default_factory=dict)
    oauth_phantom_env: dict[str, bool] = Field(default_factory=dict)
    # Variables that get the broker's addresses.
    base_url_env: str = ""
    socket_env: str = ""
    shared_config_patch: dict[str, Any] | None = None
    oauth_refresh: OauthRefresh | None = None
    shared_domain: bool = False
    # Endpoints that hand out credentials: ``[METHOD,… ]/path``, where ``*`` is one segment and ``**`` any number.
    deny: list[str] = Field(default_factory=list)


class Sidecar(_Section):
    """A tool container that gets the real credential."""

    tool_name: str | None = None
    env_map: dict[str, str] = Field(default_factory=dict)


class Install(_Section):
    """How the entry gets into the image."""

    depends_on: Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = (
        Field(default_factory=list)
    )
    run_as_root: str = ""
    run_as_dev: str = ""


class Help(_Section):
    """The entry's line in the in-container help."""

    label: str = ""
    section: Literal["agent", "dev_tool"] = "agent"


class Mount(_Section):
    """A directory of the host shared by all containers; ``host_dir`` is one path segment."""

    host_dir: str
    container_path: str
    # As in ``auth``.
    private: list[str] = Field(default_factory=list)
    flows_back: FlowsBack = Field(default_factory=dict)
    label: str | None = None


class RawAgentYaml(_Section):
    """One roster file without its ``roster_version``."""

    kind: Literal["native", "opencode", "bridge", "tool", "runtime"] = "native"
    label: str | None = None
    binary: str | None = None
    git_identity: GitIdentity | None = None
    headless: Headless | None = None
    auto_approve: AutoApprove | None = None
    session: Session | None = None
    capabilities: Capabilities | None = None
    wrapper: Wrapper | None = None
    opencode: OpenCode | None = None
    auth: Auth | None = None
    vault: VaultRouteEntry | None = None
    sidecar: Sidecar | None = None
    install: Install | None = None
    help: Help | None = None
    mounts: list[Mount] = Field(default_factory=list)
    web_ingress: bool = False
