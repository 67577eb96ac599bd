"""One project as front ends see it, and which texts are project ids."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, computed_field, field_validator, model_validator
from terok_native import _lib
from terok_native.kept import kept

_PATHS = ("root", "tasks_root", "gate_path", "staging_root", "shared_dir")


class AgentSelection(str):
    """A selection of agents, ``all`` or names with commas: a text whose iteration gives the names, not the letters."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return (name.strip() for name in self.split(",") if name.strip())


@kept
@dataclass
class PresetInfo:
    """A preset: its name, the tier it comes from (``project``, ``global``, ``bundled``), its file."""

    name: str
    source: str
    path: Path


@kept
class ProjectConfig(BaseModel):
    """A project: ``project.yml`` and what is derived from it. Cannot be changed; every path is absolute.

    What the fields mean is told by the schema of ``project.yml`` (``terok config schema project``).
    """

    # Front ends make and copy models, which needs no validator: it is built when somebody validates.
    model_config = ConfigDict(frozen=True, defer_build=True)

    id: str
    security_class: str
    isolation: str = "shared"
    upstream_url: str | None
    default_branch: str | None
    # Directories and files of the host.
    root: Path
    tasks_root: Path
    gate_path: Path
    gate_enabled: bool = True
    staging_root: Path | None
    # How the mirror reaches the upstream, and what containers learn of it.
    ssh_use_personal: bool = False
    expose_external_remote: bool = False
    # Whose name commits carry.
    human_name: str | None = None
    human_email: str | None = None
    git_authorship: str = "agent-human"
    # Looking for news at the upstream.
    upstream_polling_enabled: bool = True
    upstream_polling_interval_minutes: int = 5
    # Fetching it unasked; no branches means all.
    auto_sync_enabled: bool = False
    auto_sync_branches: list[str] = Field(default_factory=list)
    # Agents, shells and whose credentials they use.
    default_agent: str | None = None
    default_shell: str | None = None
    agent_config: dict[str, typing.Any] = Field(default_factory=dict)
    credentials_scope: typing.Literal["shared", "project"] = "shared"
    # Limits of containers; the time-out in seconds.
    shutdown_timeout: int = 10
    memory: str | None = None
    cpus: str | None = None
    log_size: str | None = None
    # What runs them, and where their clock stands.
    nested_containers: bool = False
    runtime: typing.Literal["crun", "krun"] | None = None
    timezone: str | None = None
    task_name_categories: list[str] | None = None
    shield_drop_on_task_run: bool = True
    shield_on_task_restart: str = "retain"
    # Shell commands that run on the host.
    hook_pre_start: str | None = None
    hook_post_start: str | None = None
    # The last two need a container that came up.
    hook_post_ready: str | None = None
    hook_post_stop: str | None = None
    # What images are built from.
    base_image: str = "ubuntu:24.04"
    family: typing.Literal["deb", "rpm"] | None = None
    agents: str = AgentSelection("all")
    snippet_inline: str | None = None
    snippet_file: str | None = None
    shared_dir: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, given: typing.Any) -> typing.Any:
        if isinstance(given, dict) and "default_login" in given:
            older = {key: value for key, value in given.items() if key != "default_login"}
            return {"default_shell": given["default_login"], **older}
        return given

    @field_validator("agents", mode="after")
    @classmethod
    def _selection(cls, agents: str) -> str:
        return AgentSelection(agents)

    @computed_field  # type: ignore[prop-decorator] # pydantic's own way
    @property
    def is_sealed(self) -> bool:
        """Whether workspaces are copied in and out instead of mounted."""
        return self.isolation == "sealed"

    @computed_field  # type: ignore[prop-decorator] # pydantic's own way
    @property
    def presets_dir(self) -> Path:
        """Directory of the project's presets; it may be missing."""
        return self.root / "presets"

    @property
    def default_login(self) -> str | None:
        """Older name of ``default_shell``."""
        return self.default_shell

    @property
    def credential_set(self) -> str:
        """The set of credentials its tasks use: its own one, or ``default``."""
        return self.id if self.credentials_scope == "project" else "default"

    @property
    def project_mounts_dir(self) -> Path:
        """Directory of the agents' settings when the project has credentials of its own."""
        return self.root / "mounts"

    def model_copy(self, *, update: Mapping[str, typing.Any] | None = None, deep: bool = False) -> ProjectConfig:
        """Return a copy with the fields of *update*, which are not checked."""
        changed = dict(update or {})
        if "default_login" in changed:
            changed.setdefault("default_shell", changed.pop("default_login"))
        if isinstance(changed.get("agents"), str):
            changed["agents"] = AgentSelection(changed["agents"])
        return super().model_copy(update=changed, deep=deep)


def from_native(fields: dict[str, typing.Any]) -> ProjectConfig:
    """Return the project that the engine read; it has checked everything, so nothing is checked again."""
    for name in _PATHS:
        if fields[name] is not None:
            fields[name] = Path(fields[name])
    fields["agents"] = AgentSelection(fields["agents"])
    project = ProjectConfig.__new__(ProjectConfig)
    # Every field is there: `model_construct` would look each one up, which takes longer than reading the project.
    project.__setstate__(
        {
            "__dict__": fields,
            "__pydantic_fields_set__": set(fields),
            "__pydantic_extra__": None,
            "__pydantic_private__": None,
        }
    )
    return project


def is_valid_project_id(project_id: str) -> bool:
    """True for 1 to 52 of ``a-z 0-9 _ -`` with a letter or digit in front."""
    return isinstance(project_id, str) and _lib.project_is_id(project_id)


def validate_project_id(project_id: str) -> None:
    """Raise ``SystemExit`` for what is no id, and for ``default``, the name of the credentials that projects share."""
    _lib.project_check_id(project_id)
