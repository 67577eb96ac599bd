"""What a container runtime offers, whatever stands behind it.

Handles are cheap: making one checks nothing, and absence shows as ``None``, ``False`` or an empty collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable


@dataclass(frozen=True)
class ExecResult:
    """A finished command: exit status, standard output, standard error."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """True for exit status 0."""
        return self.exit_code == 0


@dataclass(frozen=True)
class ContainerRemoveResult:
    """What became of one container that was to be removed."""

    name: str
    removed: bool
    error: str | None = None


@runtime_checkable
class LogStream(Protocol):
    """Lines of a container's output as they come."""

    def __enter__(self) -> LogStream: ...
    def __exit__(self, *exc: object) -> None: ...
    def __iter__(self) -> LogStream: ...
    def __next__(self) -> str: ...


@runtime_checkable
class PortReservation(Protocol):
    """A TCP port that is held until closed."""

    port: int

    def close(self) -> None: ...
    def __enter__(self) -> PortReservation: ...
    def __exit__(self, *exc: object) -> None: ...


@runtime_checkable
class Image(Protocol):
    """An image, by its reference."""

    ref: str

    @property
    def id(self) -> str | None: ...
    @property
    def repository(self) -> str: ...
    @property
    def tag(self) -> str: ...
    @property
    def size(self) -> str: ...
    @property
    def created(self) -> str: ...
    def exists(self) -> bool: ...
    def labels(self) -> dict[str, str]: ...
    def history(self) -> list[str]: ...
    def remove(self) -> bool: ...


@runtime_checkable
class Container(Protocol):
    """A container, by its name."""

    name: str

    @property
    def state(self) -> str | None: ...
    @property
    def running(self) -> bool: ...
    @property
    def image(self) -> Image | None: ...
    @property
    def rw_size(self) -> int | None: ...
    def start(self) -> None: ...
    def stop(self, *, timeout: int = 10) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def copy_in(self, src: Path, dest: str) -> None: ...
    def login_command(self, *, command: tuple[str, ...] = ()) -> list[str]: ...
    def logs(self, *, follow: bool = False, tail: int | None = None) -> LogStream: ...
    def stream_initial_logs(self, ready_check: Callable[[str], bool], timeout_sec: float | None) -> bool: ...


@runtime_checkable
class ContainerRuntime(Protocol):
    """A source of containers and images."""

    def container(self, name: str) -> Container: ...
    def containers_with_prefix(self, prefix: str) -> list[Container]: ...
    def image(self, ref: str) -> Image: ...
    def images(self, *, dangling_only: bool = False) -> list[Image]: ...
    def exec(self, container: Container, cmd: list[str], *, timeout: float | None = None) -> ExecResult: ...
    def exec_stdio(
        self, container: Container, cmd: list[str], *, stdin: BinaryIO, stdout: BinaryIO,
        stderr: BinaryIO | None = None, env: Mapping[str, str] | None = None, timeout: float | None = None,
    ) -> int: ...  # fmt: skip
    def force_remove(self, containers: list[Container]) -> list[ContainerRemoveResult]: ...
    def reserve_port(self, host: str = "127.0.0.1") -> PortReservation: ...
