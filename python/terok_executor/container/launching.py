"""The last steps of a launch, shared by the runner and by callers that prepare their own environment.

What the container may use (the repository behind the gate, its tokens, shared logins) comes from the launch's context;
see :mod:`terok_executor.container.context`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_executor.container import gating
from terok_executor.container.context import LaunchContext, resolve

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.launch import PerContainerResources
    from terok_sandbox.sandbox import LifecycleHooks, Sandbox, VolumeSpec

    from terok_executor.roster import AgentRoster

#: Annotation whose value is the sidecar's path; the supervisor's hook fires on it.
SIDECAR_ANNOTATION = "terok.sandbox.sidecar"

_PORT_VARIABLES = (
    ("TEROK_TOKEN_BROKER_PORT", "token_broker_port"),
    ("TEROK_SSH_SIGNER_PORT", "ssh_signer_port"),
    ("TEROK_GATE_PORT", "gate_port"),
)
_HOST_ALIAS = "host.containers.internal"


def launch(
    sandbox: Sandbox,
    roster: AgentRoster,
    *,
    env: Mapping[str, str],
    volumes: list[VolumeSpec],
    image: str,
    command: list[str],
    name: str,
    task_dir: Path,
    gpu: bool,
    memory: str | None,
    cpus: str | None,
    unrestricted: bool,
    sealed: bool,
    hooks: LifecycleHooks | None,
    extra_args: list[str] | None,
    hostname: str | None,
    annotations: Mapping[str, str] | None,
    runtime: str | None,
    project_id: str,
    task_id: str,
    dossier_path: Path | str | None,
    per_container: PerContainerResources | None,
    context: LaunchContext | None,
    allow_dangerous_mounts: tuple[Path, ...] = (),
) -> str:
    """Write the sidecar and start the container; see :meth:`AgentRunner.launch_prepared`."""
    from terok_sandbox.launch import allocate_per_container_resources, guarded
    from terok_sandbox.runtime import GpuConfigError
    from terok_sandbox.sandbox import CONTAINER_RUNTIME_DIR, RunSpec, Sharing, VolumeSpec

    from terok_executor.container.build import BuildError

    cfg = sandbox.config
    _refresh_routes(cfg)
    # Whatever is refused from here on, also by the checks before podman, leaves neither directory nor sidecar.
    with guarded(name, cfg=cfg):
        resources = per_container or allocate_per_container_resources(cfg, name)
        full_env = _with_ports(env, resources) if cfg.services_mode == "tcp" else _with_sockets(env)
        runtime_dir = resources.container_runtime_dir
        runtime_mount = VolumeSpec(runtime_dir, CONTAINER_RUNTIME_DIR, sharing=Sharing.SHARED, live=True)
        granted = resolve(context, full_env, volumes, cfg=cfg, roster=roster, unrestricted=unrestricted)
        sidecar = _write_sidecar(
            cfg, name, resources, granted, project_id=project_id, task_id=task_id, dossier_path=dossier_path
        )
        ports = (resources.gate_port, resources.token_broker_port, resources.ssh_signer_port)
        spec = RunSpec(
            container_name=name, image=image, env=full_env, volumes=(*volumes, runtime_mount), command=tuple(command),
            task_dir=Path(task_dir), gpu_enabled=gpu, memory=memory, cpus=cpus, extra_args=tuple(extra_args or ()),
            unrestricted=granted.unrestricted, sealed=sealed, hostname=hostname, runtime=runtime,
            annotations={**(annotations or {}), SIDECAR_ANNOTATION: str(sidecar)},
            loopback_ports=tuple(port for port in ports if port is not None),
            allow_dangerous_mounts=tuple(allow_dangerous_mounts),
        )  # fmt: skip
        try:
            sandbox.run(spec, hooks=hooks)
        except GpuConfigError as error:
            raise BuildError(str(error)) from error
    return name


def _with_ports(env: Mapping[str, str], resources: PerContainerResources) -> dict[str, str]:
    """The environment with this container's own ports, also in values that were rendered with another one."""
    out = dict(env)
    for variable, field in _PORT_VARIABLES:
        port = getattr(resources, field)
        if port is not None:
            out[variable] = str(port)
    if out.get("GITLAB_API_HOST", "").startswith(f"{_HOST_ALIAS}:"):
        out["GITLAB_API_HOST"] = f"{_HOST_ALIAS}:{resources.token_broker_port}"
    return out


def _with_sockets(env: Mapping[str, str]) -> dict[str, str]:
    """The environment with the gate's socket, for callers that gave a gate token alone."""
    out = dict(env)
    if "TEROK_GATE_TOKEN" in out:
        out.setdefault("TEROK_GATE_SOCKET", gating.CONTAINER_GATE_SOCKET)
    return out


def _refresh_routes(cfg: SandboxConfig) -> None:
    """Make the broker's routes those of the roster on disk; an upgrade or the user may have changed it.

    The table is everybody's, so neither a caller's own roster nor one that this process read long ago decides it.
    """
    from terok_executor.roster.loader import refresh_vault_routes

    try:
        refresh_vault_routes(cfg)
    except OSError as error:
        print(f"Warning [vault]: the broker's routes could not be renewed: {error}", file=sys.stderr)


def _write_sidecar(
    cfg: SandboxConfig,
    name: str,
    resources: PerContainerResources,
    granted: LaunchContext,
    **members: Any,
) -> Path:
    from terok_executor.container.build import BuildError
    from terok_executor.container.sidecar import write_supervisor_sidecar

    members |= {"shared_logins": granted.shared_logins, "home_dir": granted.home_dir}
    if granted.gate is not None:
        members |= {
            "gate_base_path": cfg.gate_base_path,
            "gate_token": granted.gate.token,
            "gate_port": resources.gate_port,
            "gate_scope": granted.gate.repository,
        }
    if granted.binding is not None:
        members |= {"token_scope": granted.binding.scope, "token_subject": granted.binding.subject}
        members["credential_set"] = granted.binding.credential_set
    path = write_supervisor_sidecar(name, cfg=cfg, per_container=resources, **members)
    if path is None:
        raise BuildError(
            f"cannot launch container `{name}`: its supervisor's sidecar could not be written\n"
            f"hint: check that `{cfg.state_dir}` is writable and its disk has space"
        )
    return path
