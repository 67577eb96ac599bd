"""How a user authenticates with an entry, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class AuthProvider:
    """Where an entry keeps its credential, and the ways to get one (``oauth``, ``api_key``).

    Raises:
        ValueError: ``host_dir_name`` is not one relative path segment.
    """

    name: str
    label: str
    host_dir_name: str
    container_mount: str
    command: list[str]
    banner_hint: str
    extra_run_args: tuple[str, ...] = field(default_factory=tuple)
    modes: tuple[str, ...] = ("api_key",)
    api_key_hint: str = ""
    post_capture_state: dict[str, dict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.host_dir_name
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ValueError(f"host directory {name!r} of {self.name!r} must be one relative path segment")

    @property
    def supports_oauth(self) -> bool:
        """Whether a browser login is possible."""
        return "oauth" in self.modes

    @property
    def supports_api_key(self) -> bool:
        """Whether a key can be pasted."""
        return "api_key" in self.modes

    @classmethod
    def from_mapping(cls, fields: dict[str, Any]) -> AuthProvider:
        """Make the value from the engine's mapping."""
        tuples = {key: tuple(fields[key]) for key in ("extra_run_args", "modes")}
        return cls(**(fields | tuples))
