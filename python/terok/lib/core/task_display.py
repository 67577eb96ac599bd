"""How states, modes and kinds of projects are shown: one emoji of width two and a word each."""

from __future__ import annotations

from dataclasses import dataclass

from terok_native.kept import kept


@kept
@dataclass(frozen=True)
class StatusInfo:
    """How a status is shown; the colour is a name that terminals know."""

    label: str
    emoji: str
    color: str


@kept
@dataclass(frozen=True)
class ModeInfo:
    """How a mode is shown."""

    emoji: str
    label: str


@kept
@dataclass(frozen=True)
class ProjectBadge:
    """How a property of a project is shown."""

    emoji: str
    label: str


STATUS_DISPLAY: dict[str, StatusInfo] = {
    status: StatusInfo(label=status, emoji=emoji, color=color)
    for status, emoji, color in (
        ("running", "🟢", "green"),
        ("init", "🟡", "yellow"),
        ("starting", "⏳", "yellow"),
        ("stopped", "🔴", "red"),
        ("completed", "✅", "green"),
        ("failed", "❌", "red"),
        ("created", "🆕", "yellow"),
        ("not found", "❓", "yellow"),
        ("deleting", "🧹", "yellow"),
    )
}

MODE_DISPLAY: dict[str | None, ModeInfo] = {
    "cli": ModeInfo(emoji="💻", label="CLI"),
    "run": ModeInfo(emoji="🚀", label="Autopilot"),
    "toad": ModeInfo(emoji="🐸", label="Toad"),
    None: ModeInfo(emoji="🦗", label=""),
}

SECURITY_CLASS_DISPLAY: dict[str, ProjectBadge] = {
    "gatekeeping": ProjectBadge(emoji="🚪", label="gate"),
    "online": ProjectBadge(emoji="🌐", label="online"),
}

ISOLATION_DISPLAY: dict[str, ProjectBadge] = {
    "shared": ProjectBadge(emoji="📂", label="shared"),
    "sealed": ProjectBadge(emoji="🔒", label="sealed"),
}

GPU_DISPLAY: dict[bool, ProjectBadge] = {
    True: ProjectBadge(emoji="🎮", label="GPU"),
    False: ProjectBadge(emoji="💿", label="CPU"),
}


def mode_info(mode: str | None) -> ModeInfo:
    """Return how *mode* is shown; anything that is no mode is shown as none."""
    known = isinstance(mode, str) and mode in MODE_DISPLAY
    return MODE_DISPLAY[mode if known else None]
