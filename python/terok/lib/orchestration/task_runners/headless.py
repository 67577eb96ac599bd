"""Agents that work on one prompt by themselves, and follow-ups in the same container.

What a run changed is written down by git in the container, before it ends, and read here as text of a stranger: the
host runs no git on a workspace, and an ended container cannot be asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept
from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

_MODE = "run"
_INTERRUPTED = 130


@kept
@dataclass(frozen=True)
class HeadlessRunRequest:
    """One run: *timeout* in seconds, *agents* names of sub-agents to switch on, *config_path* a YAML file of settings.

    *instructions* replaces the configured ones, also when it is empty; *unrestricted* ``None`` takes the configured
    value. With *follow* the call returns when the agent has ended.
    """

    project_id: str
    prompt: str
    #: Settings of this call alone, in the form of the section ``agent``.
    config_path: str | None = None
    model: str | None = None
    max_turns: int | None = None
    #: Of the agent itself, in the container.
    timeout: int | None = None
    follow: bool = True
    agents: list[str] | None = None
    #: Name of a preset for the agent configuration.
    preset: str | None = None
    name: str | None = None
    provider: str | None = None
    #: What the agent is told before the prompt.
    instructions: str | None = None
    #: Whether the agent may act without being asked.
    unrestricted: bool | None = None


@dataclass(frozen=True)
class DetachedSummary:
    """What is said about a run that goes on by itself."""

    label: str
    task_id: str
    cname: str
    color: bool
    log_cmd: str
    stop_cmd: str


# -- a new run ---------------------------------------------------------------------------------------------------------


def task_run_headless(request: HeadlessRunRequest) -> str:
    """Create a task and let an agent work on the prompt in it; return the task's id.

    A failed agent is no error here: its exit code is printed and recorded. Whatever is wrong with the request shows
    before a task exists.

    Raises:
        SystemExit: the request cannot be carried out, or podman refused.
        BuildError, ConfigPatchError, ValueError: the container could not be prepared.
    """
    from terok.lib.core import images, projects
    from terok.lib.integrations import executor
    from terok.lib.orchestration.task_runners import config, container
    from terok.lib.orchestration.tasks import lifecycle

    container.check_launch_allowed()
    project = projects.load_project(request.project_id)
    provider = executor.get_provider(request.provider, default_agent=project.default_agent)
    images.require_agent_installed(project, provider.name)
    resolved = config.resolved_config(project, request.preset, _build_cli_overrides(request.config_path))
    instructions = request.instructions
    if instructions is None:
        instructions = executor.resolve_instructions(resolved, provider.name, project.root)
    wanted = executor.CLIOverrides(request.model, request.max_turns, request.timeout, request.instructions)
    fitted = provider.apply_config(resolved, wanted)
    for warning in fitted.warnings:
        print(f"Warning: {warning}")
    prompt = f"{request.prompt}\n\n{fitted.prompt_extra}" if fitted.prompt_extra else request.prompt
    allowed = config.is_unrestricted(request.unrestricted, resolved, provider.name)
    task_id = lifecycle.task_new(project.id, name=request.name)
    config_dir = config.prepare(
        project, task_id, request.agents, resolved, provider=provider.name, instructions=instructions, prompt=prompt
    )
    command = provider.build_headless_command(timeout=fitted.timeout, model=fitted.model, max_turns=fitted.max_turns)
    fields = {"mode": _MODE, "provider": provider.name, "unrestricted": allowed}
    if request.preset:
        fields["preset"] = request.preset
    cname = _launch(project, task_id, config_dir, command, fields)
    _report_headless_result(
        project_id=project.id, task_id=task_id, cname=cname, task_dir=Path(project.tasks_root) / task_id,
        follow=request.follow, label=provider.label, detached_label=f"{provider.label} is working",
    )  # fmt: skip
    return task_id


def _build_cli_overrides(config_path: str | None) -> dict:
    """The settings of this call's own file."""
    from terok.lib.util import yaml

    if config_path is None:
        return {}
    path = Path(config_path).expanduser()
    try:
        found = yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"cannot read the agent configuration `{path}`: there is no such file") from None
    except Exception as error:
        raise SystemExit(f"cannot read the agent configuration `{path}`: {error}") from error
    if not isinstance(found, dict | None):
        raise SystemExit(f"cannot use the agent configuration `{path}`: a mapping is expected")
    return dict(found or {})


def _launch(project: ProjectConfig, task_id: str, config_dir: Path, command: str, fields: dict[str, Any]) -> str:
    from terok.lib.core import images
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration import environment
    from terok.lib.orchestration.task_runners import config, container, record, shield, summary
    from terok.lib.orchestration.tasks import meta as metadata

    cname = container_name(project.id, _MODE, task_id)
    task_dir = Path(project.tasks_root) / task_id
    handle = metadata.dossier_path(metadata.tasks_meta_dir(project.id), task_id)
    about: dict[str, Any] = {"mode": _MODE, "cname": cname, "handle": handle}
    with container.launching(project, task_id, cname), _recorded(project, task_id, fields):
        prepared = environment.assemble_task(project, task_id)
        env, context = dict(prepared.env), replace(prepared.context, unrestricted=fields["unrestricted"])
        if fields["unrestricted"]:
            config._apply_unrestricted_env(env)
        record.fire("pre_start", project, task_id, **about)
        container._run_container(
            cname=cname, image=images.project_cli_image(project.id), env=env,
            volumes=[*prepared.volumes, config.config_volume(config_dir)], project=project, task_id=task_id,
            task_dir=task_dir, command=["bash", "-lc", summary.recorded(command)], context=context,
        )  # fmt: skip
    record.note(project.id, task_id, ready_at=record.now())
    shield._apply_shield_policy(project, cname, task_dir, is_restart=False)
    record.fire("post_start", project, task_id, **about)
    return cname


@contextmanager
def _recorded(project: ProjectConfig, task_id: str, fields: dict[str, Any]) -> Iterator[None]:
    """Record the run before its container is there, which works at once whatever becomes of this process."""
    from terok.lib.orchestration.task_runners import record

    record.note(project.id, task_id, **fields)
    try:
        yield
    except BaseException:
        record.take_back(project.id, task_id, *(key for key in fields if key != "mode"), mode=None)
        raise


# -- how it went -------------------------------------------------------------------------------------------------------


def _report_headless_result(
    *, project_id: str, task_id: str, cname: str, task_dir: Path, follow: bool, label: str, detached_label: str,
) -> None:  # fmt: skip
    """Wait for the agent and say what it changed, or say how to watch it."""
    from terok.lib.util import ansi

    color = ansi.supports_color()
    if not follow:
        log_cmd, stop_cmd = command_line("podman", "logs", "-f", cname), command_line("podman", "stop", cname)
        _print_detached_summary(DetachedSummary(detached_label, task_id, cname, color, log_cmd, stop_cmd))
        return
    code = _waited(project_id, task_id, cname)
    _print_run_summary(project_id, task_id, _MODE, task_dir / "workspace-dangerous")
    if code != 0:
        print(ansi.red(f"{label} ended with exit code {code}", color))


def _waited(project_id: str, task_id: str, cname: str) -> int:
    """The agent's exit code, recorded; the container's own time limit bounds the wait."""
    from terok.lib.core import projects
    from terok.lib.orchestration.task_runners import container
    from terok.lib.orchestration.tasks import meta as metadata

    box = container.container_of(projects.load_project(project_id), cname)
    try:
        code = box.wait()
    except KeyboardInterrupt:
        print(
            f"\nContainer {cname} goes on; watch it with `{command_line('podman', 'logs', '-f', cname)}`, "
            f"end it with `{command_line('podman', 'stop', cname)}`"
        )
        raise SystemExit(_INTERRUPTED) from None
    except (FileNotFoundError, RuntimeError, TimeoutError) as error:
        raise SystemExit(f"how the agent of task {task_id} ended is not known: {error}") from error
    metadata.update_task_exit_code(project_id, task_id, code)
    return code


def _print_detached_summary(summary: DetachedSummary) -> None:
    from terok.lib.util import ansi

    print(f"\n{ansi.green(summary.label, summary.color)}")
    print(f"Task:       {summary.task_id}")
    print(f"Container:  {summary.cname}")
    print(f"Logs:       {ansi.blue(summary.log_cmd, summary.color)}")
    print(f"Stop:       {ansi.blue(summary.stop_cmd, summary.color)}")


def _print_run_summary(project_id: str, task_id: str, mode: str, workspace: Path) -> None:
    """What the run changed, as the container noted it, and where the files are."""
    from terok.lib.core import projects
    from terok.lib.orchestration.task_runners import summary

    changes = summary.read(projects.load_project(project_id), task_id, mode)
    if changes is None:
        print("What the run changed is not known: its container left no summary.")
    else:
        print(f"Changes:\n{changes}" if changes else "The run changed no files.")
    print(f"Workspace: {workspace}")


# -- follow-ups --------------------------------------------------------------------------------------------------------


def task_followup_headless(project_id: str, task_id: str, prompt: str, follow: bool = True) -> None:
    """Start the ended container of a headless task again, with another prompt; model and limits are those of before.

    Raises:
        SystemExit: unknown task, another mode, a container that still runs or is gone, or podman refused.
    """
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container, record, shield

    project, meta, handle = container.loaded(project_id, task_id, None)
    if meta.get("mode") != _MODE:
        raise SystemExit(
            f"cannot follow up on task {task_id}: only headless tasks take follow-ups "
            f"(mode: {meta.get('mode') or 'not set'})"
        )
    cname = container_name(project.id, _MODE, task_id)
    _check_ended(project, task_id, cname)
    task_dir = Path(project.tasks_root) / task_id
    shield.check_intent(project, task_dir)
    label = _label(meta.get("provider"))
    _inject_followup_prompt(
        is_sealed=project.is_sealed, cname=cname, agent_config_dir=task_dir / "agent-config", prompt=prompt
    )
    record.begin(project.id, task_id)
    # The code of the run before would make a running task look ended, should this process be killed.
    record.note(project.id, task_id, exit_code=None)
    container._podman_start(project, cname)
    container._assert_started(project, cname)
    record.fire("post_start", project, task_id, mode=_MODE, cname=cname, handle=handle)
    shield._apply_shield_policy(project, cname, task_dir, is_restart=True)
    _report_headless_result(
        project_id=project.id, task_id=task_id, cname=cname, task_dir=task_dir, follow=follow, label=label,
        detached_label=f"{label} is working on the follow-up",
    )  # fmt: skip


def _check_ended(project: ProjectConfig, task_id: str, cname: str) -> None:
    from terok.lib.orchestration.task_runners import container

    state = container.state_or_refuse(container.container_of(project, cname))
    if state is None:
        again = command_line("terok", "task", "run", project.id, "--mode", "headless", "--prompt", "what to do")
        raise SystemExit(
            f"cannot follow up on task {task_id}: its container `{cname}` is gone\n"
            f"hint: start a new one with `{again}`"
        )
    if state in ("running", "paused"):
        raise SystemExit(
            f"cannot follow up on task {task_id}: its container is {state}\n"
            f"hint: wait for its end, or stop it with `{command_line('terok', 'task', 'stop', project.id, task_id)}`"
        )


def _label(name: str | None) -> str:
    """The agent's name for people; says when the agent will not remember."""
    from terok.lib.integrations import executor

    name = name or "claude"
    provider = executor.AGENT_PROVIDERS.get(name)
    if provider is None:
        warnings.warn(f"agent {name} is not known any more; its container is started all the same", stacklevel=3)
        return name
    if not provider.supports_session_resume:
        print(f"Note: {provider.label} does not resume sessions; it sees the follow-up without what was said before.")
    return provider.label


def _inject_followup_prompt(*, is_sealed: bool, cname: str, agent_config_dir: Path, prompt: str) -> None:
    """Replace the prompt; the one before goes to the history. The container can write there: no link is followed."""
    from terok_native import _lib

    from terok.lib.integrations import executor

    if is_sealed:
        executor.inject_prompt(cname, prompt)
        return
    try:
        _lib.task_write_prompt(agent_config_dir, prompt)
    except OSError as error:
        raise SystemExit(str(error)) from error
