"""The sandbox's part of ``config.yml`` as pydantic models.

The engine checks the sections it reads by itself; these models serve front ends that show, validate and extend the
schema. Sections refuse unknown keys, the view leaves unknown sections to whoever subclasses it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_MEMORY = re.compile(r"\d+(\.\d+)? ?[kmgtp]?i?b?", re.IGNORECASE | re.ASCII)
_CPUS = re.compile(r"\d+(\.\d+)?", re.ASCII)

_Port = Annotated[int, Field(ge=1, le=65535)]
_RangePort = Annotated[int, Field(ge=1024, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RawCredentialsSection(_Section):
    """Where credentials are kept and how their database is opened."""

    dir: str | None = Field(default=None, description="Directory of the credential vault.")
    passphrase: str | None = Field(default=None, description="Vault passphrase in plain text; the weakest tier.")
    use_keyring: bool = Field(default=False, description="Ask the desktop keyring for the passphrase.")
    passphrase_command: str | None = Field(default=None, description="Command that prints the passphrase.")


class RawPathsSection(_Section):
    """Directories of the family."""

    root: str | None = Field(default=None, description="State root of all packages.")
    build_dir: str | None = Field(default=None, description="Directory of image build contexts.")
    sandbox_live_dir: str | None = Field(default=None, description="Directory of task workspaces and shared mounts.")
    user_projects_dir: str | None = Field(default=None, description="Directory of the user's projects.")
    user_presets_dir: str | None = Field(default=None, description="Directory of the user's presets.")
    port_registry_dir: str | None = Field(default=None, description="Directory of port claims of all users.")


class RawShieldSection(_Section):
    """The egress firewall."""

    bypass_firewall_no_protection: bool = Field(default=False, description="Run projects without the firewall.")
    profiles: dict[str, Any] | None = Field(default=None, description="Allow-list profiles by name.")
    audit: bool = Field(default=True, description="Log what the firewall decides.")
    drop_on_task_run: bool = Field(default=True, description="Open the firewall when a task starts.")
    on_task_restart: Literal["retain", "up"] = Field(
        default="retain", description="Firewall state of a restarted task: as it was, or closed."
    )


class RawServicesSection(_Section):
    """How containers reach the services of the host."""

    mode: Literal["tcp", "socket"] = Field(default="socket", description="Unix sockets, or TCP on loopback.")


class RawVaultSection(_Section):
    """The credential broker and the SSH signer."""

    bypass_no_secret_protection: bool = Field(default=False, description="Hand real secrets to containers.")
    port: _Port | None = Field(default=None, description="Fixed TCP port of the credential broker.")
    ssh_signer_port: _Port | None = Field(default=None, description="Fixed TCP port of the SSH signer.")


class RawGateServerSection(_Section):
    """The git gate."""

    port: _Port | None = Field(default=None, description="Fixed TCP port of the git gate.")
    repos_dir: str | None = Field(default=None, description="Directory of the bare mirrors.")
    suppress_systemd_warning: bool = Field(default=False, description="Accepted from older files; has no effect.")
    push_limit_mib: int = Field(default=2048, ge=1, le=1048576, description="Most MiB of one push through the gate.")
    references_per_push: int = Field(
        default=10000, ge=1, le=10000, description="Most branches and tags that one push changes."
    )
    kept_tips: int = Field(
        default=10000, ge=1, le=1000000, description="Most old tips that the gate keeps in one repository."
    )
    git_memory_mib: int = Field(
        default=512, ge=256, le=1048576, description="MiB of memory for all git processes that work for one container."
    )


class RawNetworkSection(_Section):
    """Ports that may be given out."""

    port_range_start: _RangePort = Field(default=18700, description="First port of the range.")
    port_range_end: _RangePort = Field(default=32700, description="Last port of the range.")

    @model_validator(mode="after")
    def _in_order(self) -> RawNetworkSection:
        if self.port_range_start > self.port_range_end:
            raise ValueError(
                f"port_range_start must be <= port_range_end ({self.port_range_start} > {self.port_range_end})"
            )
        return self


class RawSSHSection(_Section):
    """SSH keys for the git gate."""

    use_personal: bool | None = Field(default=None, description="Let the gate use the user's own SSH keys.")


class RawHooksSection(_Section):
    """Shell commands on the host around a task."""

    pre_start: str | None = Field(default=None, description="Before the container starts.")
    post_start: str | None = Field(default=None, description="After the container has started.")
    post_ready: str | None = Field(default=None, description="After the container reported that it is ready.")
    post_stop: str | None = Field(default=None, description="After the container has stopped.")


class RawRunSection(_Section):
    """Limits and runtime of task containers."""

    shutdown_timeout: int = Field(default=10, ge=0, description="Seconds between the request to stop and the kill.")
    gpus: str | bool | None = Field(default=None, description="GPUs for the container: true, or a device list.")
    memory: str | None = Field(default=None, description="Memory limit, for example 4g.")
    cpus: str | None = Field(default=None, description="CPU limit, for example 2.5.")
    log_size: str | None = Field(default=None, description="Largest log of a container; default 64m, 0 for no limit.")
    nested_containers: bool = Field(default=False, description="Allow containers inside the container.")
    runtime: Literal["crun", "krun"] | None = Field(default=None, description="OCI runtime.")
    timezone: str | None = Field(default=None, description="Time zone of the container; default the host's.")
    hooks: RawHooksSection = Field(default_factory=RawHooksSection, description="Host commands around a task.")

    @field_validator("hooks", mode="before")
    @classmethod
    def _no_hooks(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("gpus", mode="before")
    @classmethod
    def _gpus_flag(cls, value: Any) -> Any:
        return bool(value) if type(value) is int and value in (0, 1) else value

    @field_validator("memory", mode="before")
    @classmethod
    def _memory_format(cls, value: Any) -> Any:
        return _limit("memory", value, _MEMORY, "such as 512m or 4g")

    @field_validator("log_size", mode="before")
    @classmethod
    def _log_size_format(cls, value: Any) -> Any:
        return _limit("log_size", value, _MEMORY, "such as 512m or 4g")

    @field_validator("cpus", mode="before")
    @classmethod
    def _cpus_format(cls, value: Any) -> Any:
        return _limit("cpus", value, _CPUS, "such as 2 or 0.5")


def _limit(name: str, value: Any, form: re.Pattern[str], example: str) -> Any:
    """Return a limit as text; numbers become their text, blank means none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        if value is None:
            return None
        raise ValueError(f"{name} must be a text or a number {example}, not {value!r}")
    if not value.strip():
        return None
    if not form.fullmatch(value):
        raise ValueError(f"{name} must be a limit {example}, not {value!r}")
    return value


class SandboxConfigView(BaseModel):
    """The sections of ``config.yml`` that belong to the sandbox."""

    model_config = ConfigDict(extra="allow")

    credentials: RawCredentialsSection = Field(
        default_factory=RawCredentialsSection, description="Vault directory and passphrase tiers."
    )
    paths: RawPathsSection = Field(default_factory=RawPathsSection, description="Directories of the family.")
    shield: RawShieldSection = Field(default_factory=RawShieldSection, description="Egress firewall.")
    services: RawServicesSection = Field(
        default_factory=RawServicesSection, description="Transport between containers and host."
    )
    vault: RawVaultSection = Field(default_factory=RawVaultSection, description="Credential broker and SSH signer.")
    gate_server: RawGateServerSection = Field(default_factory=RawGateServerSection, description="Git gate.")
    network: RawNetworkSection = Field(default_factory=RawNetworkSection, description="Ports that may be given out.")
    ssh: RawSSHSection = Field(default_factory=RawSSHSection, description="SSH keys for the git gate.")
    run: RawRunSection = Field(default_factory=RawRunSection, description="Limits and runtime of task containers.")
    experimental: bool = Field(default=False, description="Enable features that may still change.")
