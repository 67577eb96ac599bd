"""The container of a task: whether it may be started, how it is launched, and what users are told about it.

Collaborators are looked up when they are used, on the modules that export them, because callers replace them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_executor import AgentRunner
    from terok_executor.container.context import LaunchContext
    from terok_sandbox.sandbox import LifecycleHooks, VolumeSpec

    from terok.lib.core.project_model import ProjectConfig

DEFAULT_SSH_HOST = "127.0.0.1"
DEFAULT_GUEST_SSHD_PORT = 22
#: Labels by which a task's container can be found without its project's files.
LABEL_MANAGED, MANAGED_BY = "ai.terok.managed", "terok"
LABEL_PROJECT, LABEL_TASK = "ai.terok.project", "ai.terok.task"
_PIDS_LIMIT = 8192
_KRUN_CPUS = 16
_NO_PODMAN = "podman is not installed\nhint: install podman 4.3 or newer, for example `apt install podman`"


# -- may it start ------------------------------------------------------------------------------------------------------


def check_launch_allowed() -> None:
    """Refuse to start anything while the host is in panic or the global settings cannot be trusted.

    Raises:
        SystemExit: naming the lock file, or what is wrong in which file.
    """
    from terok.lib.core import config

    check_panic()
    # Settings that are not in order count as defaults, which may protect less than their author wanted.
    config.require_valid_config()


def check_panic() -> None:
    """Refuse while the host is in panic.

    A panic writes its lock before it looks for containers. Whoever looks for the lock after its container runs is
    therefore either refused here or found there.

    Raises:
        SystemExit: naming the lock file.
    """
    from terok.lib.core import paths

    lock = paths.core_state_dir() / "panic.lock"
    if lock.exists():
        raise SystemExit(
            f"cannot start a task: everything was stopped in a panic, and `{lock}` still says so\n"
            "hint: when the cause is found, end the panic with `terok panic --clear`"
        )


def loaded(project_id: str, task_id: str, mode: str | None) -> tuple[ProjectConfig, dict[str, Any], Path]:
    """The project, the task's metadata and its handle, once starting is allowed at all.

    Raises:
        SystemExit: see :func:`check_launch_allowed`; unknown project or task, another mode, or a task on its way out.
    """
    from terok_sandbox import launch

    from terok.lib.core import config, projects
    from terok.lib.orchestration.tasks import meta as metadata

    check_launch_allowed()
    # First, so that nobody goes on with a container that a later launch would take back with its dead launcher's rest.
    launch.recover(cfg=config.make_sandbox_config())
    project = projects.load_project(project_id)
    if _oci_runtime(project) == "krun":
        _validate_krun_compatibility(project)
    meta, handle = metadata.load_task_meta(project.id, task_id, mode)
    if meta.get("deleting"):
        raise SystemExit(
            f"cannot start task {task_id}: it is being deleted\n"
            f"hint: finish with `{command_line('terok', 'task', 'delete', project.id, task_id)}`"
        )
    return project, meta, handle


# -- launching ---------------------------------------------------------------------------------------------------------


@contextmanager
def launching(project: ProjectConfig, task_id: str, cname: str) -> Iterator[None]:
    """The part of a launch that leaves traces: one launcher at a time, and all is taken back when the block raises.

    A second launcher is refused before it mints tokens, which would end those of the first one's container. A deletion
    or a panic that began meanwhile has looked for containers already, so that the new one must go.

    Raises:
        SystemExit: the container exists or is being launched, the task was deleted, or the host is in panic.
    """
    from terok_sandbox import launch

    from terok.lib.core import config
    from terok.lib.orchestration.tasks import meta as metadata

    cfg = config.make_sandbox_config()
    with launch.guarded(cname, cfg=cfg):
        launch.note_token(cname, project.id, task_id, cfg=cfg)
        yield
        check_panic()
        meta = metadata.read_task_meta(metadata.tasks_meta_dir(project.id), task_id)
        if meta is None or meta.get("deleting"):
            raise SystemExit(f"task {task_id} was deleted while its container `{cname}` was started")


def _agent_runner(project: ProjectConfig) -> AgentRunner:
    """The runner that launches containers of *project*, on the project's runtime."""
    from terok.lib.core import config, runtime
    from terok.lib.integrations import executor, sandbox

    box = sandbox.Sandbox(config.make_sandbox_config(), runtime=runtime.resolve_runtime(project))
    return executor.AgentRunner(sandbox=box)


def _run_container(
    *, cname: str, image: str, env: dict[str, str], volumes: list[VolumeSpec], project: ProjectConfig, task_id: str,
    task_dir: Path, extra_args: list[str] | None = None, command: list[str] | None = None,
    hooks: LifecycleHooks | None = None, context: LaunchContext | None = None,
) -> None:  # fmt: skip
    """Launch the container, detached and supervised; nothing of it is left when that fails.

    *context* came with *env*; without one the variables alone say whether the agent is restricted.

    Raises:
        SystemExit: podman is missing or refused, the image is gone, or the launch could not be prepared.
    """
    from terok.lib.core import task_state
    from terok.lib.integrations import executor
    from terok.lib.orchestration.tasks import meta as metadata

    dossier = Path(metadata.dossier_path(metadata.tasks_meta_dir(project.id), task_id)).absolute()
    flags = _project_runtime_flags(project, cname=cname)
    try:
        _agent_runner(project).launch_prepared(
            env=env, volumes=volumes, image=image, command=list(command or ()), name=cname, task_dir=task_dir,
            gpu=task_state.has_gpu(project), memory=project.memory, cpus=project.cpus,
            unrestricted=context.unrestricted if context else "TEROK_UNRESTRICTED" in env,
            sealed=project.is_sealed, hooks=hooks,
            extra_args=[*(extra_args or ()), *_marks(project, task_id), *flags],
            runtime=_oci_runtime(project), hostname=cname, annotations=_annotations(project, dossier),
            project_id=project.id, task_id=task_id, dossier_path=dossier, context=context,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SystemExit(f"cannot start container `{cname}`: {_NO_PODMAN}") from error
    except executor.BuildError as error:
        raise SystemExit(str(error)) from error


def _marks(project: ProjectConfig, task_id: str) -> list[str]:
    """Podman arguments that mark the container as a task's, set its limits, and keep registries out of it."""
    labels = {LABEL_MANAGED: MANAGED_BY, LABEL_PROJECT: project.id, LABEL_TASK: task_id}
    marked = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    limits = ["--pids-limit", str(_PIDS_LIMIT), "--stop-timeout", str(max(project.shutdown_timeout, 0))]
    if project.log_size:
        limits += ["--log-opt", f"max-size={project.log_size}"]
    return ["--pull=never", *limits, *marked]


def _oci_runtime(project: ProjectConfig) -> str | None:
    """The runtime of new containers: the one that will look at them, whoever chose it."""
    from terok.lib.core import runtime

    return "krun" if runtime.runtime_name(project) == "krun" else project.runtime


def _annotations(project: ProjectConfig, dossier: Path) -> dict[str, str]:
    notes = {"dossier.meta_path": str(dossier)}
    if _oci_runtime(project) == "krun" and project.cpus:
        notes["krun.cpus"] = str(min(max(math.ceil(float(project.cpus)), 1), _KRUN_CPUS))
    return notes


def _project_runtime_flags(project: ProjectConfig, *, cname: str) -> list[str]:
    """Podman arguments for nested containers, or for a microVM with its SSH port on loopback."""
    from terok.lib.core import config, runtime
    from terok.lib.integrations import executor

    flags: list[str] = []
    if _oci_runtime(project) == "krun":
        _validate_krun_compatibility(project)
        host = executor.KrunHost(cfg=config.make_sandbox_config())
        with runtime.resolve_runtime(project).reserve_port() as held:
            flags += ["-p", f"{DEFAULT_SSH_HOST}:{held.port}:{DEFAULT_GUEST_SSHD_PORT}", *host.launch_args()]
    if project.nested_containers:
        flags += ["--security-opt", "label=nested", "--device", "/dev/fuse"]
    return flags


def _validate_krun_compatibility(project: ProjectConfig) -> None:
    from terok.lib.core import config

    def refuse(why: str, hint: str) -> None:
        raise SystemExit(f"cannot run a task of `{project.id}` in a microVM: {why}\nhint: {hint}")

    if not config.is_experimental():
        refuse("`run.runtime: krun` is experimental", "add --experimental, or `experimental: true` to config.yml")
    if project.nested_containers:
        refuse("`run.nested_containers` does not work in one", "choose one of the two in project.yml")
    if config.get_services_mode() != "tcp":
        refuse("the services' sockets cannot be reached from one", "set `services: {mode: tcp}` in config.yml")


# -- containers that exist ---------------------------------------------------------------------------------------------


def container_of(project: ProjectConfig, cname: str) -> Any:
    """A handle on a container, through the project's runtime."""
    from terok.lib.core import runtime

    return runtime.resolve_runtime(project).container(cname)


def state_or_refuse(container: Any) -> str | None:
    """The container's state, ``None`` only when there is no such container.

    Raises:
        SystemExit: podman does not answer, so that nothing is known.
    """
    state = container.state
    if state is None:
        # Runtimes that do not say more (another back end, a test's) are believed.
        ask = getattr(type(container), "exists", None)
        try:
            known = ask is not None and ask(container)
        except RuntimeError as error:
            raise SystemExit(f"cannot tell whether container `{container.name}` exists: {error}") from error
        state = container.state if known else None
    return state


def thaw(container: Any) -> None:
    """Let a paused container go on; podman neither starts nor stops one.

    Raises:
        SystemExit: podman refused.
    """
    try:
        container.unpause()
    except (FileNotFoundError, RuntimeError) as error:
        raise SystemExit(f"cannot let the paused container `{container.name}` go on: {error}") from error


def _podman_start(project: ProjectConfig, cname: str) -> None:
    """Start a container that exists; a supervised one must get an answering supervisor.

    Raises:
        SystemExit: podman is missing or refused, no supervisor answers, or a panic began meanwhile; the container is
            stopped then.
    """
    from terok.lib.core import config, runtime
    from terok.lib.integrations import sandbox
    from terok.lib.orchestration.task_runners import shield

    box = sandbox.Sandbox(config.make_sandbox_config(), runtime=runtime.resolve_runtime(project))
    try:
        if box.runtime.container(cname).state == "paused":
            thaw(box.runtime.container(cname))
        else:
            box.start(cname)
    except FileNotFoundError as error:
        raise SystemExit(f"cannot start container `{cname}`: {_NO_PODMAN}") from error
    except RuntimeError as error:
        raise SystemExit(f"cannot start container `{cname}`: {error}") from error
    try:
        check_panic()
    except SystemExit:
        shield._stop_container_best_effort(project, cname, timeout=0)
        raise


def _assert_running(project: ProjectConfig, cname: str) -> None:
    """Refuse to go on with a container that ended right away."""
    _assert_state(project, cname, "running")


def _assert_started(project: ProjectConfig, cname: str) -> None:
    """As :func:`_assert_running`, for containers whose work may be done by now."""
    _assert_state(project, cname, "running", "stopping", "stopped", "exited")


def _assert_state(project: ProjectConfig, cname: str, *wanted: str) -> None:
    state = container_of(project, cname).state
    if state not in wanted:
        raise SystemExit(
            f"container `{cname}` does not run after its start (state: {state or 'unknown'})\n"
            f"hint: see what it wrote with `{command_line('podman', 'logs', cname)}`"
        )


# -- what users are told -----------------------------------------------------------------------------------------------


def _print_login_instructions(project_id: str, task_id: str, cname: str, color: bool) -> None:
    from terok.lib.core import projects
    from terok.lib.util import ansi

    raw = container_of(projects.load_project(project_id), cname).login_command(command=("bash",))
    print(f"Log in:   {ansi.blue(command_line('terok', 'login', project_id, task_id), color)}")
    print(f"  or:     {ansi.blue(command_line(*raw), color)}")
    _maybe_warn_recovery_unconfirmed(color)


def _maybe_warn_recovery_unconfirmed(color: bool) -> None:
    """Remind of the passphrase's copy; a vault that cannot be looked at is no reason to fail here."""
    from terok.lib.core import config
    from terok.lib.integrations import sandbox
    from terok.lib.util import ansi
    from terok.lib.util.logging_utils import _log_debug

    try:
        cfg = config.make_sandbox_config()
        if not Path(cfg.db_path).exists() or sandbox.RecoveryStatus.is_acknowledged(cfg):
            return
        urgent = sandbox.RecoveryStatus.load(cfg).urgent
    except Exception as error:
        _log_debug(f"whether the vault's passphrase has a copy is not known: {error}")
        return
    if urgent:
        print(ansi.red("The vault's passphrase is kept for this login session only: write it down", color), end="")
    else:
        print(ansi.yellow("Nobody has confirmed a copy of the vault's passphrase", color), end="")
    print(" (`terok vault passphrase reveal`).")
