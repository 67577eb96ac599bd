"""One task as an object: a snapshot of what is known about it, and what can be done with it.

What changes the task does not change the snapshot; ask the project for the task again to see it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept

if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig
    from terok.lib.domain.task_logs import LogViewOptions
    from terok.lib.orchestration.tasks.query import TaskMeta
    from terok.lib.util.check_reporter import CheckReporter

__all__ = ["Task"]


@kept
class Task:
    """A task of *config*'s project; equal to every other snapshot of the same task."""

    __slots__ = ("_config", "_meta")

    def __init__(self, config: ProjectConfig, meta: TaskMeta) -> None:
        self._config, self._meta = config, meta

    @property
    def id(self) -> str:
        """The task's id."""
        return self._meta.task_id

    @property
    def name(self) -> str:
        """The task's name."""
        return self._meta.name

    @property
    def mode(self) -> str | None:
        """``cli``, ``run`` or ``toad``; ``None`` until it has run."""
        return self._meta.mode

    @property
    def status(self) -> str:
        """The word for the task's state, from this snapshot."""
        return self._meta.status

    @property
    def container_state(self) -> str | None:
        """podman's word for the container, from this snapshot."""
        return self._meta.container_state

    @property
    def meta(self) -> TaskMeta:
        """The snapshot."""
        return self._meta

    def run_cli(self, *, agents: list[str] | None = None, preset: str | None = None) -> None:
        """Start the task's container for work at a terminal, or resume it."""
        from terok.lib.orchestration import task_runners

        task_runners.task_run_cli(self._config.id, self.id, agents=agents, preset=preset)

    def stop(self, *, timeout: int | None = None) -> None:
        """Stop the container; *timeout* seconds until it is killed, by default the project's."""
        from terok.lib.orchestration import tasks

        tasks.task_stop(self._config.id, self.id, timeout=timeout)

    def restart(self) -> None:
        """Stop the container if it runs, and start it."""
        from terok.lib.orchestration import task_runners

        task_runners.task_restart(self._config.id, self.id)

    def delete(self) -> None:
        """Archive the task and remove it; what could not be removed is logged."""
        from terok.lib.orchestration import tasks
        from terok.lib.util.logging_utils import log_warning

        for warning in tasks.task_delete(self._config.id, self.id).warnings:
            log_warning(warning)

    def rename(self, new_name: str) -> None:
        """Give the task another name; the container keeps its own."""
        from terok.lib.orchestration import tasks

        tasks.task_rename(self._config.id, self.id, new_name)

    def followup(self, prompt: str, follow: bool = True) -> None:
        """Give a headless task that has ended another prompt."""
        from terok.lib.orchestration import task_runners

        task_runners.task_followup_headless(self._config.id, self.id, prompt, follow)

    def logs(self, options: LogViewOptions | None = None) -> None:
        """Print the container's log."""
        from terok.lib.domain import task_logs

        task_logs.task_logs(self._config.id, self.id, options)

    def login(self) -> None:
        """Replace this process by a terminal in the container."""
        from terok.lib.orchestration import tasks

        tasks.task_login(self._config.id, self.id)

    def get_login_command(self) -> list[str]:
        """Return the command that opens a terminal in the container."""
        from terok.lib.orchestration import tasks

        return list(tasks.get_login_command(self._config.id, self.id))

    def get_workspace_diff(self, against: str = "HEAD") -> str | None:
        """Return what changed in the workspace since *against* (``HEAD``, ``PREV``); ``None``: it cannot be told."""
        from terok.lib.orchestration import tasks

        return tasks.get_workspace_git_diff(self._config.id, self.id, against)

    def show_status(self) -> None:
        """Print the task's state."""
        from terok.lib.orchestration import tasks

        tasks.task_status(self._config.id, self.id)

    def wait_for_exit(self, *, timeout: int = 7200) -> tuple[int | None, str | None]:
        """Wait until the container has ended: its exit status, or ``None`` and why there is none.

        Raises:
            RuntimeError: the task has never run.
        """
        from terok.lib.core.task_state import container_name
        from terok.lib.orchestration import tasks

        if self.mode is None:
            raise RuntimeError(f"task {self.id} has never run: there is nothing to wait for")
        name = container_name(self._config.id, self.mode, self.id)
        return tasks.wait_for_container_exit(name, self._config.id, self.id, timeout)

    def capture_logs(self) -> Path | None:
        """Write the container's log into the task's directory; ``None`` when there is no container or it fails."""
        from terok.lib.orchestration import tasks

        return None if self.mode is None else tasks.capture_task_logs(self._config, self.id, self.mode)

    def image_is_old(self) -> bool | None:
        """Tell whether the container runs an older image than the project would build now; ``None``: does not apply."""
        from terok.lib.domain import project_state

        return project_state.is_task_image_old(self._config.id, self._meta)

    def doctor(
        self, *, fix: bool = False, reporter: CheckReporter | None = None, label_prefix: str = ""
    ) -> list[tuple[str, str, str]]:
        """Check the container; see :class:`terok.lib.orchestration.container_doctor.ContainerDoctor`."""
        from terok.lib.orchestration import container_doctor

        found = container_doctor.ContainerDoctor(self._config.id, self.id)
        return found.run(fix=fix, reporter=reporter, label_prefix=label_prefix)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Task):
            return NotImplemented
        return (self._config.id, self.id) == (other._config.id, other.id)

    def __hash__(self) -> int:
        return hash((self._config.id, self.id))

    def __repr__(self) -> str:
        return f"Task({self._config.id!r}, {self.id!r})"
