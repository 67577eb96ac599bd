"""A back end without containers: it answers as it was told, starts no process, and records what it was asked.

It does not turn :class:`terok_sandbox.Sandbox` into a dry run: launching always calls podman.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from .protocol import Container, ContainerRemoveResult, ExecResult, Image, LogStream, PortReservation

Step = tuple[str, bytes]


class NullLogStream:
    """No lines."""

    def __iter__(self) -> NullLogStream:
        return self

    def __next__(self) -> str:
        raise StopIteration

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> NullLogStream:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class NullImage:
    """An image that exists when it was added."""

    def __init__(self, ref: str, runtime: NullRuntime) -> None:
        self.ref = ref
        self._runtime = runtime

    def _text(self, key: str) -> str:
        return str(self._runtime._images.get(self.ref, {}).get(key, ""))

    @property
    def id(self) -> str | None:
        return self.ref if self.exists() else None

    @property
    def repository(self) -> str:
        return self._text("repository")

    @property
    def tag(self) -> str:
        return self._text("tag")

    @property
    def size(self) -> str:
        return self._text("size")

    @property
    def created(self) -> str:
        return self._text("created")

    def exists(self) -> bool:
        return self.ref in self._runtime._images

    def labels(self) -> dict[str, str]:
        labels = self._runtime._images.get(self.ref, {}).get("labels")
        return dict(labels) if isinstance(labels, Mapping) else {}

    def history(self) -> list[str]:
        history = self._runtime._images.get(self.ref, {}).get("history", ())
        return [str(line) for line in history] if isinstance(history, Iterable) else []

    def remove(self) -> bool:
        return self._runtime._images.pop(self.ref, None) is not None

    def __eq__(self, other: object) -> bool:
        return self.ref == other.ref if isinstance(other, NullImage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.ref)

    def __repr__(self) -> str:
        return f"NullImage(ref={self.ref!r})"


class NullContainer:
    """A container with the state it was given."""

    def __init__(self, name: str, runtime: NullRuntime) -> None:
        self.name = name
        self._runtime = runtime

    @property
    def state(self) -> str | None:
        return self._runtime._states.get(self.name)

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def image(self) -> Image | None:
        ref = self._runtime._container_images.get(self.name)
        return None if ref is None else NullImage(ref, self._runtime)

    @property
    def rw_size(self) -> int | None:
        return self._runtime._rw_sizes.get(self.name)

    def start(self) -> None:
        self._runtime._states[self.name] = "running"

    def exists(self) -> bool:
        return self.state is not None

    def unpause(self) -> None:
        self._runtime._states[self.name] = "running"

    def pause(self) -> None:
        self._runtime._states[self.name] = "paused"

    def stop(self, *, timeout: int = 10) -> None:
        self._runtime._states[self.name] = "exited"

    def wait(self, timeout: float | None = None) -> int:
        return self._runtime._exit_codes.get(self.name, 0)

    def copy_in(self, src: Path, dest: str) -> None:
        self._runtime._copy_in_calls.append((self.name, src, dest))

    def login_command(self, *, command: tuple[str, ...] = ()) -> list[str]:
        return ["null-exec", self.name, *command]

    def logs(self, *, follow: bool = False, tail: int | None = None) -> LogStream:
        return NullLogStream()

    def stream_initial_logs(self, ready_check: Callable[[str], bool], timeout_sec: float | None) -> bool:
        return self._runtime._ready.get(self.name, True)

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, NullContainer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"NullContainer(name={self.name!r})"


class NullRuntime:
    """Containers and images as fixtures."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._container_images: dict[str, str] = {}
        self._rw_sizes: dict[str, int] = {}
        self._exit_codes: dict[str, int] = {}
        self._ready: dict[str, bool] = {}
        self._images: dict[str, dict[str, object]] = {}
        self._exec_results: dict[tuple[str, tuple[str, ...]], ExecResult] = {}
        self._scripts: dict[tuple[str, tuple[str, ...]], tuple[list[Step], int]] = {}
        self._copy_in_calls: list[tuple[str, Path, str]] = []
        self._exec_stdio_calls: list[tuple[str, tuple[str, ...], dict[str, str]]] = []
        self._force_remove_calls: list[list[str]] = []

    def set_container_state(self, name: str, state: str) -> None:
        """Gives a container a state."""
        self._states[name] = state

    def set_container_image(self, name: str, ref: str) -> None:
        """Gives a container an image."""
        self._container_images[name] = ref

    def set_container_rw_size(self, name: str, size: int) -> None:
        """Gives a container a size in bytes."""
        self._rw_sizes[name] = size

    def set_exit_code(self, name: str, code: int) -> None:
        """Sets what ``wait`` gives."""
        self._exit_codes[name] = code

    def set_ready_result(self, name: str, ready: bool) -> None:
        """Sets what ``stream_initial_logs`` gives."""
        self._ready[name] = ready

    def add_image(
        self, ref: str, *, repository: str = "", tag: str = "", size: str = "", created: str = "",
        labels: Mapping[str, str] | None = None, history: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Adds an image."""
        self._images[ref] = {
            "repository": repository,
            "tag": tag,
            "size": size,
            "created": created,
            "labels": dict(labels or {}),
            "history": tuple(history),
        }

    def set_exec_result(self, name: str, cmd: tuple[str, ...], result: ExecResult) -> None:
        """Sets what ``exec`` of this command gives."""
        self._exec_results[(name, tuple(cmd))] = result

    def set_exec_stdio_script(
        self, name: str, cmd: tuple[str, ...], steps: Sequence[Step], *, exit_code: int = 0
    ) -> None:
        """Sets the conversation of ``exec_stdio``: ``("read", expected)`` and ``("write", sent)`` steps."""
        for direction, _ in steps:
            if direction not in ("read", "write"):
                raise ValueError(f"no direction `{direction}`: `read` or `write` is expected")
        self._scripts[(name, tuple(cmd))] = (list(steps), exit_code)

    def container(self, name: str) -> Container:
        """A handle."""
        return NullContainer(name, self)

    def containers_with_prefix(self, prefix: str) -> list[Container]:
        """Containers with a state whose name is ``prefix``, a dash, and more."""
        return [NullContainer(name, self) for name in self._states if name.startswith(f"{prefix}-")]

    def all_states(self) -> dict[str, str]:
        return dict(self._states)

    def container_states(self, prefix: str) -> dict[str, str]:
        """States by name of the containers with this prefix."""
        return {name: state for name, state in self._states.items() if name.startswith(f"{prefix}-")}

    def container_rw_sizes(self, prefix: str) -> dict[str, int]:
        """Sizes by name of the containers with this prefix."""
        return {name: size for name, size in self._rw_sizes.items() if name.startswith(f"{prefix}-")}

    def image(self, ref: str) -> Image:
        """A handle."""
        return NullImage(ref, self)

    def images(self, *, dangling_only: bool = False) -> list[Image]:
        """All added images, or those tagged ``<none>``."""
        every = [NullImage(ref, self) for ref in self._images]
        return [image for image in every if not dangling_only or image.tag == "<none>"]

    def exec(self, container: Container, cmd: list[str], *, timeout: float | None = None) -> ExecResult:
        """The registered result, or success without output."""
        if not cmd:
            raise ValueError("no command to run in the container")
        return self._exec_results.get((container.name, tuple(cmd)), ExecResult(0, "", ""))

    def exec_stdio(
        self, container: Container, cmd: list[str], *, stdin: BinaryIO, stdout: BinaryIO,
        stderr: BinaryIO | None = None, env: Mapping[str, str] | None = None, timeout: float | None = None,
    ) -> int:  # fmt: skip
        """Plays the registered conversation; ``AssertionError`` when something else is read than expected."""
        if not cmd:
            raise ValueError("no command to run in the container")
        self._exec_stdio_calls.append((container.name, tuple(cmd), dict(env or {})))
        steps, code = self._scripts.get((container.name, tuple(cmd)), ([], 0))
        for direction, data in steps:
            if direction == "read":
                found = stdin.read(len(data))
                if found != data:
                    raise AssertionError(f"expected {data!r} on standard input, found {found!r}")
            else:
                stdout.write(data)
                stdout.flush()
        return code

    def force_remove(self, containers: list[Container]) -> list[ContainerRemoveResult]:
        """Forgets the containers; always succeeds."""
        names = [container.name for container in containers]
        self._force_remove_calls.append(names)
        for name in names:
            for fixtures in (self._states, self._container_images, self._rw_sizes, self._exit_codes, self._ready):
                fixtures.pop(name, None)
        return [ContainerRemoveResult(name, True) for name in names]

    def reserve_port(self, host: str = "127.0.0.1") -> PortReservation:
        """Holds a real free TCP port until it is closed."""
        from .port import ReservedPort

        return ReservedPort(host)
