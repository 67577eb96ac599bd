"""How much room tasks and shared directories take, in bytes of apparent size; links are not followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_native.kept import kept


@kept
@dataclass(frozen=True)
class TaskStorageInfo:
    """Bytes of one task's workspace and of its agent configuration."""

    task_id: str
    workspace_bytes: int
    agent_config_bytes: int

    @property
    def total_bytes(self) -> int:
        """Both together."""
        return self.workspace_bytes + self.agent_config_bytes

    @classmethod
    def measure(cls, task_dir: Path) -> TaskStorageInfo:
        """Measure one task's directory; its name is the task id, missing parts count 0."""
        from terok_native import _lib

        return cls(Path(task_dir).name, *_lib.agents_task_size(task_dir))

    @classmethod
    def measure_all(cls, tasks_root: Path) -> list[TaskStorageInfo]:
        """Measure every task below a directory, sorted by id; none when it does not exist."""
        from terok_native import _lib

        return [cls.measure(Path(tasks_root) / name) for name in _lib.agents_child_names(tasks_root)]


@kept
@dataclass(frozen=True)
class SharedMountStorageInfo:
    """Bytes of one directory that all containers share."""

    name: str
    label: str
    bytes: int

    @classmethod
    def measure_all(cls, mounts_base: Path | None = None) -> list[SharedMountStorageInfo]:
        """Measure every shared directory, sorted by name; *mounts_base* defaults to the executor's."""
        from terok_native import _lib

        from terok_executor import paths
        from terok_executor.roster.loader import AgentRoster

        labels = {mount.host_dir: mount.label for mount in AgentRoster.shared().mounts}
        sizes = _lib.agents_child_sizes(mounts_base or paths.mounts_dir())
        return [cls(name, labels.get(name) or _label(name), size) for name, size in sizes]


def _label(name: str) -> str:
    return name.lstrip("_").replace("-", " ").capitalize()
