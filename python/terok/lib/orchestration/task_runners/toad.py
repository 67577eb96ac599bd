"""A task's container that serves the web front end behind a token.

The token lies in the task's metadata and, for the container's gate, in a file of a directory that the container can
write: it is only ever replaced there, never written through. A launch that does not become ready takes back what it
recorded and claimed.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

_MODE = "toad"
_LOCALHOST = "127.0.0.1"
_TOAD_PUBLIC_PORT = 8080
_TOAD_INTERNAL_PORT = 8081
_READY_MARKER = "TEROK_READY"
#: Seconds until the front end must answer; the first clone of a large repository is part of it.
_READY_TIMEOUT_S = 900.0


def task_run_toad(
    project_id: str, task_id: str, agents: list[str] | None = None, preset: str | None = None,
    unrestricted: bool | None = None,
) -> None:  # fmt: skip
    """Serve the task's web front end, or bring it back, and print its address.

    See :func:`terok.lib.orchestration.task_runners.cli.task_run_cli` for the arguments. The address is on loopback
    unless ``TEROK_PUBLIC_HOST`` names a host of this machine.

    Raises:
        SystemExit: with the reason, when it cannot be started; status 1 when it did not become ready.
    """
    from terok.lib.core import config as settings
    from terok.lib.core.task_state import container_name
    from terok.lib.orchestration.task_runners import container

    project, meta, handle = container.loaded(project_id, task_id, _MODE)
    cname = container_name(project.id, _MODE, task_id)
    host = settings.get_public_host()
    state = container.container_of(project, cname).state
    if state is not None:
        _resume_toad_container(
            project=project, task_id=task_id, cname=cname, container_state=state, meta=meta, meta_path=handle,
            pub_host=host,
        )  # fmt: skip
    else:
        _launch(project, task_id, cname, handle, host, agents=agents, preset=preset, unrestricted=unrestricted)


# -- a container that exists -------------------------------------------------------------------------------------------


def _resume_toad_container(
    *, project: ProjectConfig, task_id: str, cname: str, container_state: str, meta: dict, meta_path: Path,
    pub_host: str,
) -> None:  # fmt: skip
    from terok.lib.orchestration.task_runners import container, record, shield

    port = reclaim_port(project, task_id, meta, running=container_state in ("running", "paused"))
    token = _rehydrate_toad_token(project, task_id, meta, cname)
    if container_state != "running":
        task_dir = Path(project.tasks_root) / task_id
        shield.check_intent(project, task_dir)
        record.begin(project.id, task_id)
        container._podman_start(project, cname)
        container._assert_running(project, cname)
        record.fire(
            "post_start", project, task_id, mode=_MODE, cname=cname, handle=meta_path, web_port=port
        )  # fmt: skip
        shield._apply_shield_policy(project, cname, task_dir, is_restart=True)
    if not meta.get("ready_at"):
        record.note(project.id, task_id, ready_at=record.now())
    print(f"Container {cname} is up: {_toad_browser_url(pub_host, port, token)}")


def reclaim_port(project: ProjectConfig, task_id: str, meta: dict[str, Any], *, running: bool) -> int:
    """Claim the task's recorded web port again.

    Raises:
        SystemExit: none is recorded, somebody else has it, or another program listens there.
    """
    from terok.lib.orchestration import ports

    port = meta.get("web_port")
    if not isinstance(port, int) or isinstance(port, bool):
        raise SystemExit(
            f"cannot bring task {task_id} back: its web port is not recorded\n"
            f"hint: delete it with `{command_line('terok', 'task', 'delete', project.id, task_id)}` and start a new one"
        )
    if not ports.reclaim_web_port(project.id, task_id, port, running=running):
        raise SystemExit(
            f"cannot bring task {task_id} back: its web port {port} is no longer available\n"
            "hint: end the program that uses it, or start a new task"
        )
    return port


def _rehydrate_toad_token(project: ProjectConfig, task_id: str, meta: dict, cname: str) -> str:
    """Put the recorded token back where the container's gate reads it."""
    token = meta.get("web_token")
    if not isinstance(token, str) or not token:
        raise SystemExit(
            f"cannot bring container `{cname}` back: the token of task {task_id} is not recorded\n"
            f"hint: delete it with `{command_line('terok', 'task', 'delete', project.id, task_id)}` and start a new one"
        )
    return _ensure_toad_token(_agent_config_dir(project, task_id), token)


# -- a new container ---------------------------------------------------------------------------------------------------


def _launch(
    project: ProjectConfig, task_id: str, cname: str, handle: Path, host: str, *, agents: list[str] | None,
    preset: str | None, unrestricted: bool | None,
) -> None:  # fmt: skip
    from terok.lib.orchestration import ports
    from terok.lib.orchestration.task_runners import config, container, record

    allowed = config.is_unrestricted(
        unrestricted, config.resolved_config(project, preset), config.provider_of(project, None)
    )
    config_dir = config._prepare_agent_config(project, project.id, task_id, agents, preset)
    about: dict[str, Any] = {"mode": _MODE, "cname": cname, "handle": handle}
    with container.launching(project, task_id, cname):
        port = ports.assign_web_port(project.id, task_id)
        about["web_port"] = port
        try:
            token = _ensure_toad_token(config_dir)
            record.begin(project.id, task_id)
            fields = {"mode": _MODE, "web_port": port, "web_token": token, "unrestricted": allowed}
            record.note(project.id, task_id, **fields, **({"preset": preset} if preset else {}))
            _start(project, task_id, config_dir, host, port, allowed, about)
        except BaseException:
            _give_back(project, task_id)
            raise
    try:
        _await(project, task_id, about)
    except BaseException:
        _take_back(project, task_id, cname)
        raise
    record.fire("post_ready", project, task_id, **about)
    record.note(project.id, task_id, ready_at=record.now())
    _summary(project, task_id, cname, _toad_browser_url(host, port, token))


def _start(
    project: ProjectConfig, task_id: str, config_dir: Path, host: str, port: int, allowed: bool, about: dict[str, Any],
) -> None:  # fmt: skip
    from terok.lib.core import images
    from terok.lib.orchestration import environment
    from terok.lib.orchestration.task_runners import config, container, record

    prepared = environment.assemble_task(project, task_id)
    env, context = dict(prepared.env), replace(prepared.context, unrestricted=allowed)
    env |= {"TOAD_PUBLIC_PORT": str(_TOAD_PUBLIC_PORT), "TOAD_INTERNAL_PORT": str(_TOAD_INTERNAL_PORT)}
    if allowed:
        config._apply_unrestricted_env(env)
    record.fire("pre_start", project, task_id, **about)
    container._run_container(
        cname=about["cname"], image=images.project_cli_image(project.id), env=env,
        volumes=[*prepared.volumes, config.config_volume(config_dir)], project=project, task_id=task_id,
        task_dir=Path(project.tasks_root) / task_id, command=_command(host, port), context=context,
        extra_args=["-p", f"{_bind_address(host)}:{port}:{_TOAD_PUBLIC_PORT}"],
    )  # fmt: skip


def _await(project: ProjectConfig, task_id: str, about: dict[str, Any]) -> None:
    """Return when the front end answers; ``SystemExit`` with status 1 when it does not."""
    from terok.lib.orchestration.task_runners import container, record, shield

    cname = about["cname"]
    shield._apply_shield_policy(project, cname, Path(project.tasks_root) / task_id, is_restart=False)
    record.fire("post_start", project, task_id, **about)
    box = container.container_of(project, cname)
    if not box.stream_initial_logs(lambda line: _READY_MARKER in line, _READY_TIMEOUT_S) or box.state != "running":
        _say_not_ready(project, task_id, cname)
        raise SystemExit(1)


def _say_not_ready(project: ProjectConfig, task_id: str, cname: str) -> None:
    """The container is about to go; what it wrote stays with the task."""
    from terok.lib.orchestration.tasks import lifecycle

    kept = lifecycle.capture_task_logs(project, task_id, _MODE)
    print(f"The web front end of task {task_id} did not become ready; container {cname} is removed.")
    seen = command_line("podman", "logs", cname)
    print(f"What it wrote is in {kept}" if kept else f"Its output could not be kept; see `{seen}`")


def _take_back(project: ProjectConfig, task_id: str, cname: str) -> None:
    """Undo a launch: the container first, and the rest only when nothing can publish its port any more."""
    from terok.lib.orchestration.tasks import removal
    from terok.lib.util.logging_utils import warn_user

    survivors = removal.remove_containers(project, [cname])
    if survivors:
        warn_user("toad", f"container {cname} could not be removed and keeps its port: {survivors[cname]}")
    else:
        _give_back(project, task_id)


def _give_back(project: ProjectConfig, task_id: str) -> None:
    """The port, and what was recorded about the run."""
    from terok.lib.orchestration import ports
    from terok.lib.orchestration.task_runners import record

    record.take_back(project.id, task_id, "web_token", "unrestricted", "preset", mode=None, web_port=None)
    ports.release_web_port(project.id, task_id)


def _command(host: str, port: int) -> list[str]:
    """The host's name goes through a shell; it comes from the environment and is quoted."""
    address = f"http://{_url_host(host)}:{port}"
    return ["bash", "-lc", command_line("terok-toad-entry", "--public-url", address, "/workspace")]


def _bind_address(host: str) -> str:
    if host in ("::1", "[::1]"):
        return "[::1]"
    return _LOCALHOST if host in (_LOCALHOST, "localhost") else "0.0.0.0"  # noqa: S104 - the operator named a public host


def _url_host(host: str) -> str:
    from terok.lib.util.net import url_host

    return url_host(host)


def _toad_browser_url(public_host: str, port: int, token: str) -> str:
    return f"http://{_url_host(public_host)}:{port}/?token={token}"


# -- the token ---------------------------------------------------------------------------------------------------------


def _agent_config_dir(project: ProjectConfig, task_id: str) -> Path:
    return Path(project.tasks_root) / task_id / "agent-config"


def _ensure_toad_token(agent_config_dir: Path, existing: str | None = None) -> str:
    """Put *existing*, or a new token, into the container's directory; links there are replaced, never followed."""
    from terok_native import _lib

    token = existing or secrets.token_urlsafe(32)
    try:
        _lib.task_write_token(agent_config_dir, token)
    except OSError as error:
        raise SystemExit(str(error)) from error
    return token


def _summary(project: ProjectConfig, task_id: str, cname: str, url: str) -> None:
    from terok.lib.util import ansi

    color = ansi.supports_color()
    print(f"\nContainer {ansi.green(cname, color)} serves the web front end.")
    print(f"Open:     {ansi.blue(url, color)}")
    print(f"Logs:     {ansi.blue(command_line('podman', 'logs', '-f', cname), color)}")
    print(f"Stop:     {ansi.blue(command_line('terok', 'task', 'stop', project.id, task_id), color)}")
