"""What an agent says about its work, in two small files of the directory that its container shares with the host.

The container can write there, so everything read is limited, never reached through a link, and without control
characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_native import _lib
from terok_native.kept import kept

STATUS_FILE_NAME = "work-status.yml"
PENDING_PHASE_FILE_NAME = "pending-phase.yml"


@kept
@dataclass(frozen=True)
class WorkStatusInfo:
    """How a work status is shown."""

    label: str
    emoji: str


@kept
@dataclass(frozen=True)
class WorkStatus:
    """What an agent is doing: a word, not only the known ones, and a sentence."""

    status: str | None = None
    message: str | None = None


@kept
@dataclass(frozen=True)
class PendingPhase:
    """What an agent is to do next, and with which prompt."""

    phase: str
    prompt: str


#: The words that agents are told to use, and what each stands for.
WORK_STATUSES: dict[str, str] = {
    "planning": "Working out what to do",
    "coding": "Writing or changing code",
    "testing": "Running or writing tests",
    "debugging": "Looking for the cause of a fault",
    "reviewing": "Reading through changes",
    "documenting": "Writing documentation",
    "done": "Finished with everything that was asked",
    "blocked": "Waiting for something from outside",
    "error": "Stopped by a fault that it cannot get over",
}

WORK_STATUS_DISPLAY: dict[str, WorkStatusInfo] = {
    status: WorkStatusInfo(label=status.capitalize(), emoji=emoji)
    for status, emoji in zip(WORK_STATUSES, ("📋", "💻", "🧪", "🐛", "🔍", "📝", "✅", "🚧", "🚫"), strict=True)
}


def read_work_status(agent_config_dir: Path) -> WorkStatus:
    """Return what the agent says it is doing; an empty status when it says nothing that can be understood."""
    status, message, trouble = _lib.task_read_work_status(agent_config_dir)
    if trouble is not None:
        _note(f"{agent_config_dir}/{STATUS_FILE_NAME}: {trouble}")
    return WorkStatus(status=status, message=message)


def write_work_status(agent_config_dir: Path, status: str | None, message: str | None = None) -> None:
    """Write what the agent is doing, or take it back with ``None``. The directory is created where needed.

    Raises:
        ValueError: The status is empty or not a text, or the message is not a text.
        OSError: The file cannot be written.
    """
    _require_text("status", status)
    _require_text("message", message)
    _lib.task_write_work_status(agent_config_dir, status, message)


def read_pending_phase(agent_config_dir: Path) -> PendingPhase | None:
    """Return the phase that waits, ``None`` when there is none that can be understood."""
    found = _lib.task_read_pending_phase(agent_config_dir)
    return None if found is None else PendingPhase(*found)


def write_pending_phase(agent_config_dir: Path, phase: str, prompt: str) -> None:
    """Write the phase that waits. The directory is created where needed.

    Raises:
        ValueError: The phase is blank, or one of the two is not a text.
        OSError: The file cannot be written.
    """
    if not isinstance(phase, str) or not isinstance(prompt, str):
        raise ValueError("cannot write the pending phase: phase and prompt must be texts")
    _lib.task_write_pending_phase(agent_config_dir, phase, prompt)


def clear_pending_phase(agent_config_dir: Path) -> None:
    """Take back the phase that waits, if any."""
    _lib.task_clear_pending_phase(agent_config_dir)


def _require_text(what: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"cannot write the work status: the {what} must be a text")


def _note(text: str) -> None:
    from terok.lib.util.logging_utils import _log_debug

    _log_debug(text)
