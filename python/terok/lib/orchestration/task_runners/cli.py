"""A task's container that waits for logins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

_MODE = "cli"
_READY_MARKERS = ("__CLI_READY__", ">> init complete")
#: Seconds that output is shown while the workspace is prepared; a container that takes longer goes on by itself.
_READY_TIMEOUT_S = 60.0


def task_run_cli(
    project_id: str, task_id: str, agents: list[str] | None = None, preset: str | None = None,
    unrestricted: bool | None = None,
) -> None:  # fmt: skip
    """Start the task's container, or bring it back, and print how to log in.

    Args:
        agents: Sub-agents to switch on beside those on by default; only a new container takes these three.
        preset: Name of a preset for the agent configuration.
        unrestricted: Whether agents may act unasked; ``None`` takes the configured value, which is yes by default.

    Raises:
        SystemExit: with the reason, when the task cannot be started.
    """
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container

    project, meta, handle = container.loaded(project_id, task_id, _MODE)
    cname = container_name(project.id, _MODE, task_id)
    state = container.container_of(project, cname).state
    if state is not None:
        _resume(project, task_id, cname, state, meta, handle)
    else:
        _launch(project, task_id, cname, handle, agents, preset, unrestricted)


def _resume(project: ProjectConfig, task_id: str, cname: str, state: str, meta: dict[str, Any], handle: Path) -> None:
    from terok.lib.orchestration.task_runners import container, record, shield
    from terok.lib.util.ansi import supports_color

    task_dir = Path(project.tasks_root) / task_id
    about: dict[str, Any] = {"mode": _MODE, "cname": cname, "handle": handle}
    fields: dict[str, Any] = {"mode": _MODE}
    if state == "running":
        print(f"Container {cname} is running already.")
        if not meta.get("ready_at"):
            fields["ready_at"] = record.now()
    else:
        shield.check_intent(project, task_dir)
        record.begin(project.id, task_id)
        container._podman_start(project, cname)
        container._assert_running(project, cname)
        record.fire("post_start", project, task_id, **about)
        shield._apply_shield_policy(project, cname, task_dir, is_restart=True)
        fields["ready_at"] = record.now()
        print(f"Container {cname} was started again.")
    record.note(project.id, task_id, **fields)
    container._print_login_instructions(project.id, task_id, cname, supports_color())


def _launch(
    project: ProjectConfig, task_id: str, cname: str, handle: Path, agents: list[str] | None, preset: str | None,
    unrestricted: bool | None,
) -> None:  # fmt: skip
    from terok.lib.core import images
    from terok.lib.orchestration import environment
    from terok.lib.orchestration.task_runners import config, container, record, shield

    task_dir = Path(project.tasks_root) / task_id
    about: dict[str, Any] = {"mode": _MODE, "cname": cname, "handle": handle}
    provider = config.provider_of(project, None)
    allowed = config.is_unrestricted(unrestricted, config.resolved_config(project, preset), provider)
    config_dir = config._prepare_agent_config(project, project.id, task_id, agents, preset)
    with container.launching(project, task_id, cname):
        record.begin(project.id, task_id)
        prepared = environment.assemble_task(project, task_id)
        env, context = dict(prepared.env), replace(prepared.context, unrestricted=allowed)
        if allowed:
            config._apply_unrestricted_env(env)
        record.fire("pre_start", project, task_id, **about)
        container._run_container(
            cname=cname, image=images.project_cli_image(project.id), env=env,
            volumes=[*prepared.volumes, config.config_volume(config_dir)], project=project, task_id=task_id,
            task_dir=task_dir, command=_command(), context=context,
        )  # fmt: skip
    # At once: whoever is interrupted from here on leaves a container that can be entered, stopped and restarted.
    record.note(project.id, task_id, mode=_MODE, unrestricted=allowed, **({"preset": preset} if preset else {}))
    shield._apply_shield_policy(project, cname, task_dir, is_restart=False)
    record.fire("post_start", project, task_id, **about)
    container.container_of(project, cname).stream_initial_logs(_is_ready, _READY_TIMEOUT_S)
    container._assert_running(project, cname)
    record.fire("post_ready", project, task_id, **about)
    record.note(project.id, task_id, ready_at=record.now())
    _summary(project, task_id, cname)


def _command() -> list[str]:
    """Prepare the workspace, say so, and stay up for logins, also when preparing failed; ends when asked to."""
    ready = f"init-ssh-and-repo.sh && echo {_READY_MARKERS[0]}"
    # The first process of a container ignores what it has no handler for; a stop would take its full time.
    return ["bash", "-lc", f"{ready}; trap 'exit 143' TERM; tail -f /dev/null & wait"]


def _is_ready(line: str) -> bool:
    return any(marker in line for marker in _READY_MARKERS)


def _summary(project: ProjectConfig, task_id: str, cname: str) -> None:
    from terok.lib.orchestration.task_runners import container
    from terok.lib.util import ansi

    color = ansi.supports_color()
    print(f"\nContainer {ansi.green(cname, color)} is up.")
    container._print_login_instructions(project.id, task_id, cname, color)
    print(f"Stop:     {ansi.blue(command_line('terok', 'task', 'stop', project.id, task_id), color)}")
