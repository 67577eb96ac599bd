"""The podman back end. Nothing is cached: every call asks podman anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .protocol import Container, ContainerRemoveResult, ExecResult, Image, LogStream, PortReservation

if TYPE_CHECKING:
    from .stream import ProcessLogStream

_LOGIN = ("tmux", "new-session", "-A", "-s", "main")


def _native() -> Any:
    from terok_native import _lib

    return _lib


def _checked(cmd: list[str]) -> list[str]:
    if not cmd:
        raise ValueError("no command to run in the container")
    return list(cmd)


def _env_options(env: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """podman's environment options, and the sensitive values that go through its own environment instead."""
    options: list[str] = []
    hidden: dict[str, str] = {}
    for name, value in env.items():
        pair = f"{name}={value}"
        if _native().sandbox_redact(["-e", pair])[1] == pair:
            options += ["-e", pair]
        else:
            options += ["-e", name]
            hidden[name] = value
    return options, hidden


class PodmanImage:
    """An image of the local store; the descriptive texts are filled by :meth:`PodmanRuntime.images` alone."""

    def __init__(self, ref: str, *, repository: str = "", tag: str = "", size: str = "", created: str = "") -> None:
        self.ref = ref
        self._repository, self._tag, self._size, self._created = repository, tag, size, created

    @property
    def id(self) -> str | None:
        """Identifier without a prefix, or ``None``."""
        return _native().podman_image_id(self.ref)

    @property
    def repository(self) -> str:
        """Repository as podman lists it."""
        return self._repository

    @property
    def tag(self) -> str:
        """Tag as podman lists it."""
        return self._tag

    @property
    def size(self) -> str:
        """Size with its unit as podman lists it."""
        return self._size

    @property
    def created(self) -> str:
        """Age as podman lists it."""
        return self._created

    def exists(self) -> bool:
        """True when the image is in the local store."""
        return _native().podman_image_exists(self.ref)

    def labels(self) -> dict[str, str]:
        """Labels of the image; empty on every failure."""
        return _native().podman_image_labels(self.ref)

    def history(self) -> list[str]:
        """The commands that made the image, newest first; empty on every failure."""
        return _native().podman_image_history(self.ref)

    def remove(self) -> bool:
        """Removes the image unless it is in use; true when it is gone."""
        return _native().podman_image_remove(self.ref)

    def __eq__(self, other: object) -> bool:
        return self.ref == other.ref if isinstance(other, PodmanImage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.ref)

    def __repr__(self) -> str:
        return f"PodmanImage(ref={self.ref!r})"


class PodmanContainer:
    """A container by its name; two handles of one name are equal."""

    def __init__(self, name: str, *, runtime: object | None = None) -> None:
        self.name = name

    @property
    def state(self) -> str | None:
        """Lower-case status such as ``running``; ``None`` without such a container or without an answer."""
        return _native().podman_state(self.name)

    @property
    def running(self) -> bool:
        """True while the container runs."""
        return _native().podman_running(self.name)

    def exists(self) -> bool:
        """True when podman knows the container; ``RuntimeError`` when podman cannot be asked.

        Where :attr:`state` is ``None``, this tells a container that is gone from a podman that does not answer.
        """
        with _as_runtime_error():
            return _native().podman_inspect(self.name) is not None

    @property
    def image(self) -> Image | None:
        """The image that the container was made from."""
        image_id = _native().podman_container_image(self.name)
        return PodmanImage(image_id) if image_id else None

    @property
    def rw_size(self) -> int | None:
        """Bytes in the container's writable layer."""
        return _native().podman_rw_size(self.name)

    def start(self) -> None:
        """Starts the container; ``RuntimeError`` with podman's status and words."""
        with _as_runtime_error():
            _native().podman_start(self.name)

    def unpause(self) -> None:
        """Lets a paused container go on; ``RuntimeError`` as for :meth:`start`."""
        with _as_runtime_error():
            _native().podman_unpause(self.name)

    def pause(self) -> None:
        """Freezes the container; ``RuntimeError`` as for :meth:`start`."""
        with _as_runtime_error():
            _native().podman_pause(self.name)

    def stop(self, *, timeout: int = 10) -> None:
        """Stops the container, killing it after ``timeout`` seconds; ``RuntimeError`` as for :meth:`start`."""
        with _as_runtime_error():
            _native().podman_stop(self.name, timeout)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once the container has ended; ``TimeoutError`` after ``timeout`` seconds."""
        return _native().podman_wait(self.name, timeout)

    def copy_in(self, src: Path, dest: str) -> None:
        """Copies a file, or the content of a directory; ``subprocess.CalledProcessError`` with podman's words."""
        done = _native().podman_copy_in(self.name, str(src), dest)
        if done["exit_code"]:
            from subprocess import CalledProcessError

            argv = ["podman", *_native().podman_copy_in_args(self.name, str(src), dest)]
            raise CalledProcessError(done["exit_code"], argv, done["stdout"], done["stderr"])

    def login_command(self, *, command: tuple[str, ...] = ()) -> list[str]:
        """The command line of an interactive session; starts nothing."""
        return ["podman", "exec", "-it", self.name, *(command or _LOGIN)]

    def logs(self, *, follow: bool = False, tail: int | None = None) -> LogStream:
        """The container's output, line by line; close it after use."""
        from .stream import ProcessLogStream

        stream: ProcessLogStream = ProcessLogStream(self._logs_argv(follow=follow, tail=tail))
        return stream

    def stream_initial_logs(self, ready_check: Callable[[str], bool], timeout_sec: float | None) -> bool:
        """Prints output until a line satisfies the check; false at the end of the output or after ``timeout_sec``."""
        from . import stream

        return stream.wait_ready(self._logs_argv(follow=True), ready_check, timeout_sec)

    def _logs_argv(self, *, follow: bool, tail: int | None = None) -> list[str]:
        return ["podman", *_native().podman_logs_args(self.name, follow=follow, tail=tail)]

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, PodmanContainer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class _as_runtime_error:
    """Turns a missing podman and a passed limit into ``RuntimeError``, keeping the cause."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError | TimeoutError | OSError):
            raise RuntimeError(str(error)) from error


class PodmanRuntime:
    """Containers and images of the podman on ``PATH``."""

    def container(self, name: str) -> Container:
        """A handle; nothing is checked."""
        return PodmanContainer(name)

    def containers_with_prefix(self, prefix: str) -> list[Container]:
        """All containers whose name is ``prefix``, a dash, and more; empty on every failure."""
        return [PodmanContainer(name) for name in _native().podman_names(prefix)]

    def all_states(self) -> dict[str, str]:
        """Returns the state by name of every container; ``RuntimeError`` when podman cannot tell."""
        with _as_runtime_error():
            return _native().podman_all_states()

    def container_states(self, prefix: str) -> dict[str, str]:
        """Lower-case status by name of the containers with this prefix; empty on every failure."""
        return dict(_native().podman_states(prefix))

    def container_rw_sizes(self, prefix: str) -> dict[str, int]:
        """Bytes in the writable layer by name of the containers with this prefix; slow, unreadable rows left out."""
        return dict(_native().podman_rw_sizes(prefix))

    def image(self, ref: str) -> Image:
        """A handle; nothing is checked."""
        return PodmanImage(ref)

    def images(self, *, dangling_only: bool = False) -> list[Image]:
        """All images, or those without a name; empty on every failure."""
        rows = _native().podman_images(dangling_only)
        return [
            PodmanImage(r["id"], repository=r["repository"], tag=r["tag"], size=r["size"], created=r["created"])
            for r in rows
        ]

    def exec(self, container: Container, cmd: list[str], *, timeout: float | None = None) -> ExecResult:
        """Runs a program in a container and captures its output; ``subprocess.TimeoutExpired`` after ``timeout``."""
        cmd = _checked(cmd)
        try:
            done = _native().podman_exec(container.name, cmd, timeout)
        except TimeoutError:
            from subprocess import TimeoutExpired

            raise TimeoutExpired(["podman", "exec", container.name, *cmd], timeout or 0.0) from None
        return ExecResult(done["exit_code"], done["stdout"], done["stderr"])

    def exec_stdio(
        self, container: Container, cmd: list[str], *, stdin: BinaryIO, stdout: BinaryIO,
        stderr: BinaryIO | None = None, env: Mapping[str, str] | None = None, timeout: float | None = None,
    ) -> int:  # fmt: skip
        """Connects a program in a container with three binary streams; its exit status.

        Data is passed on as it comes; the end of ``stdin`` closes the program's. Sensitive values of ``env`` do not
        appear in podman's argument list. ``subprocess.TimeoutExpired`` after ``timeout`` seconds.
        """
        import os

        from . import stream

        cmd = _checked(cmd)
        options, hidden = _env_options(dict(env or {}))
        argv = ["podman", "exec", "-i", *options, container.name, *cmd]
        child_env = {**os.environ, **hidden} if hidden else None
        return stream.run_piped(argv, stdin=stdin, stdout=stdout, stderr=stderr, timeout=timeout, env=child_env)

    def force_remove(self, containers: list[Container]) -> list[ContainerRemoveResult]:
        """Kills and removes containers, in order; failures are results."""
        if not containers:
            return []
        removed = _native().podman_force_remove([container.name for container in containers])
        return [ContainerRemoveResult(r["name"], r["removed"], r["error"]) for r in removed]

    def reserve_port(self, host: str = "127.0.0.1") -> PortReservation:
        """Holds a free TCP port until it is closed."""
        from .port import ReservedPort

        return ReservedPort(host)
