"""Launching and handling containers: the values that describe a launch, and the facade that carries it out.

The steps of a launch are looked up when they are used, so that a caller can replace any of them.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from .config import SandboxConfig
    from .runtime import ContainerRemoveResult, ContainerRuntime

READY_MARKER = ">> init complete"
"""A line with this text says that the container has set itself up."""
CONTAINER_RUNTIME_DIR = "/run/terok"
"""Where a container finds its runtime directory."""
SAFE_RUNTIMES = frozenset({"crun", "krun"})
"""OCI runtimes that a launch may ask for."""
SAFE_ANNOTATION_KEYS = frozenset({"dossier.meta_path", "krun.cpus", "terok.sandbox.sidecar"})
"""Annotations that a launch may carry."""
_GATE_ADDRESS = "localhost:9418"


class Sharing(enum.StrEnum):
    """Who else uses a mounted directory (decides its SELinux label)."""

    PRIVATE = "private"
    SHARED = "shared"


@dataclass(frozen=True)
class VolumeSpec:
    """A host file or directory inside the container; ``live`` ones are mounted even when the rest is copied."""

    host_path: Path
    container_path: str
    sharing: str = "shared"
    read_only: bool = False
    live: bool = False

    def to_mount_arg(self) -> str:
        """The value of ``-v``: ``<host>:<container>:<z|Z>[,ro]``; ``ValueError`` for an unknown ``sharing``."""
        label = {"shared": "z", "private": "Z"}.get(self.sharing)
        if label is None:
            raise ValueError(f"unknown sharing `{self.sharing}`: `shared` or `private` is expected")
        for path in (str(self.host_path), self.container_path):
            if ":" in path or "," in path:
                raise ValueError(f"volume path `{path}` contains `:` or `,`, which podman would read as options")
        return f"{self.host_path}:{self.container_path}:{label}{',ro' if self.read_only else ''}"


@dataclass(frozen=True)
class LifecycleHooks:
    """Callables without arguments around the life of a container; the facade calls the first two."""

    pre_start: Callable[[], None] | None = None
    post_start: Callable[[], None] | None = None
    post_ready: Callable[[], None] | None = None
    post_stop: Callable[[], None] | None = None


@dataclass(frozen=True)
class RunSpec:
    """Everything about one container to launch; annotations are copied and cannot be changed afterwards.

    ``allow_dangerous_mounts`` names host paths that are mounted although a launch refuses them otherwise: home
    directories, keys, our own state and the like.
    """

    container_name: str
    image: str
    env: dict[str, str]
    volumes: tuple[VolumeSpec, ...]
    command: tuple[str, ...]
    task_dir: Path
    gpu_enabled: bool = False
    memory: str | None = None
    cpus: str | None = None
    extra_args: tuple[str, ...] = ()
    unrestricted: bool = True
    sealed: bool = False
    hostname: str | None = None
    runtime: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    loopback_ports: tuple[int, ...] = ()
    allow_dangerous_mounts: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "annotations", MappingProxyType(dict(self.annotations)))


def redact_env_args(args: list[str]) -> list[str]:
    """A copy of a podman argument list without the values of sensitive variables and without URL credentials."""
    return _native().sandbox_redact(list(args))


def _native() -> Any:
    from terok_native import _lib

    return _lib


def _data(spec: RunSpec) -> dict[str, object]:
    for volume in spec.volumes:
        volume.to_mount_arg()
    return {
        "container_name": spec.container_name,
        "image": spec.image,
        "env": dict(spec.env),
        "volumes": [
            {
                "host_path": str(v.host_path),
                "container_path": v.container_path,
                "sharing": str(v.sharing),
                "read_only": v.read_only,
                "live": v.live,
            }
            for v in spec.volumes
        ],
        "command": list(spec.command),
        "task_dir": str(spec.task_dir),
        "gpu_enabled": spec.gpu_enabled,
        "memory": spec.memory,
        "cpus": spec.cpus,
        "extra_args": list(spec.extra_args),
        "unrestricted": spec.unrestricted,
        "sealed": spec.sealed,
        "hostname": spec.hostname,
        "runtime": spec.runtime,
        "annotations": dict(spec.annotations),
        "loopback_ports": list(spec.loopback_ports),
        "allow_dangerous_mounts": [str(path) for path in spec.allow_dangerous_mounts],
    }


def _fire(hooks: LifecycleHooks | None, name: str) -> None:
    callback = getattr(hooks, name, None) if hooks is not None else None
    if callback is not None:
        callback()


class Sandbox:
    """Launches containers for one configuration and talks to them through one container runtime."""

    def __init__(self, config: SandboxConfig | None = None, *, runtime: ContainerRuntime | None = None) -> None:
        if config is None:
            from .config import SandboxConfig

            config = SandboxConfig()
        if runtime is None:
            from . import runtime as runtimes

            runtime = runtimes.PodmanRuntime()
        self._config = config.with_resolved_ports()
        self._runtime = runtime

    @property
    def config(self) -> SandboxConfig:
        """The configuration, with its ports resolved."""
        return self._config

    @property
    def runtime(self) -> ContainerRuntime:
        """The container runtime."""
        return self._runtime

    def mint_gate_token(self) -> str:
        """A fresh secret for the git gate."""
        from .gate import tokens

        return tokens.mint_gate_token()

    def gate_url(self, repo_path: Path, token: str) -> str:
        """Address of a gated repository as the container sees it; ``ValueError`` for one outside the gate directory."""
        base = Path(self.config.gate_base_path)
        try:
            relative = Path(os.path.normpath(repo_path)).relative_to(base)
        except ValueError:
            raise ValueError(f"repository `{repo_path}` is not below the gate directory `{base}`") from None
        return f"http://{token}@{_GATE_ADDRESS}/{relative.as_posix()}"

    def pre_start_args(
        self, container: str, task_dir: Path, *, runtime: str | None = None, loopback_ports: tuple[int, ...] = ()
    ) -> list[str]:
        """Network and capability options of a launch."""
        from . import shield

        return shield.pre_start_args(self.config)

    def run(self, spec: RunSpec, *, hooks: LifecycleHooks | None = None) -> None:
        """Starts a container: command line shown, ``pre_start``, podman, ``post_start``.

        A container with a sidecar annotation counts as started only when its supervisor answers. When anything fails
        before ``post_start``, everything this launch made is taken back. Raises ``ValueError`` for an unacceptable
        description, ``GpuConfigError``, or ``SystemExit`` with the cause and the next step.
        """
        from . import launch

        data = _data(spec)
        _native().sandbox_check(launch._place(self.config), data)
        with launch.guarded(spec.container_name, cfg=self.config):
            if spec.sealed:
                self._run_sealed(spec, data, hooks)
            else:
                self._podman("run", spec, data, hooks)
        _fire(hooks, "post_start")

    def create(self, spec: RunSpec, *, hooks: LifecycleHooks | None = None) -> str:
        """Creates a container without starting it; its name."""
        from . import launch

        data = _data(spec)
        _native().sandbox_check(launch._place(self.config), data)
        with launch.guarded(spec.container_name, cfg=self.config):
            self._podman("create", spec, data, hooks)
        return spec.container_name

    def start(self, name: str, *, hooks: LifecycleHooks | None = None) -> None:
        """Starts a created or stopped container; one with a sidecar must get an answering supervisor or is stopped."""
        from . import launch

        supervised = (Path(self.config.state_dir) / "sidecar" / f"{name}.json").is_file()
        container = self.runtime.container(name)
        if supervised:
            _native().sandbox_check_hooks(launch._place(self.config), name)
            # The runtime directory of the login session is gone after a restart of the machine; podman needs its part.
            (Path(self.config.runtime_dir) / "run" / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        container.start()
        if supervised:
            try:
                launch.prove_supervised(name, cfg=self.config)
            except BaseException:
                container.stop(timeout=0)
                raise
        _fire(hooks, "post_start")

    def copy_to(self, name: str, src: Path, dest: str) -> None:
        """Copies a file, or the content of a directory, into a container."""
        self.runtime.container(name).copy_in(src, dest)

    def stream_logs(
        self, container: str, *, timeout: float | None = None, ready_check: Callable[[str], bool] | None = None
    ) -> bool:
        """Prints a container's output until a line satisfies ``ready_check`` (default: it has the ready marker)."""
        check = ready_check or (lambda line: READY_MARKER in line)
        return self.runtime.container(container).stream_initial_logs(check, timeout)

    def wait_for_exit(self, container: str, timeout: float | None = None) -> int:
        """The container's exit status, once it has ended; ``TimeoutError`` after ``timeout`` seconds."""
        return self.runtime.container(container).wait(timeout)

    def stop(self, names: list[str]) -> list[ContainerRemoveResult]:
        """Kills and removes containers."""
        return self.runtime.force_remove([self.runtime.container(name) for name in names])

    def task_state_dir(self, container: str) -> Path:
        """Where the state of a container's run is kept; ``ValueError`` for an unsafe name."""
        _native().sandbox_check_name(container)
        return Path(self.config.state_dir) / "sandbox" / "runs" / container

    def _podman(self, verb: str, spec: RunSpec, data: dict[str, object], hooks: LifecycleHooks | None) -> None:
        from . import launch

        network = self.pre_start_args(
            spec.container_name, spec.task_dir, runtime=spec.runtime, loopback_ports=spec.loopback_ports
        )
        prepared = _native().sandbox_prepare(launch._place(self.config), data, verb, network)
        prepared.preflight()
        for warning in prepared.warnings:
            print(f"Warning: {warning}", file=sys.stderr, flush=True)
        print(f"$ {prepared.shown}", flush=True)
        _fire(hooks, "pre_start")
        prepared.execute()

    def _run_sealed(self, spec: RunSpec, data: dict[str, object], hooks: LifecycleHooks | None) -> None:
        from subprocess import CalledProcessError

        self.create(spec, hooks=hooks)
        try:
            _native().sandbox_sealed_directories(data)
            for copy in _native().sandbox_sealed_copies(data):
                self.copy_to(spec.container_name, Path(copy["source"]), copy["target"])
            self.start(spec.container_name, hooks=None)
        except CalledProcessError as error:
            _native().sandbox_refuse(data, str(error.stderr or error))
        except (FileNotFoundError, RuntimeError) as error:
            _native().sandbox_refuse(data, str(error))
