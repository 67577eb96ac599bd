"""Living connections to podman processes: log streams, the wait for readiness, and programs with three pipes.

Lines of a container are cleaned of what could steer a terminal, but for colours, and have a bound on their length.
Every process started here is ended and reaped by whoever started it, on every path.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

_GRACE = 2.0
_CHUNK = 65536


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end, kills it after two seconds, reaps it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class ProcessLogStream:
    """The lines of a process's output; standard error is part of it, so that it can never block the process."""

    #: Lines that have been read and not been taken yet.
    _waiting: list[str]

    def __init__(self, argv: list[str]) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        from terok_native import _lib

        self._closing = threading.Lock()
        self._lines, self._waiting = _lib.LinesRef(), []

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process itself."""
        return self._process

    def __iter__(self) -> ProcessLogStream:
        return self

    def __next__(self) -> str:
        from terok_native import _lib

        while not self._waiting:
            stdout = self._process.stdout
            if stdout is None or stdout.closed:
                raise StopIteration
            chunk = os.read(stdout.fileno(), _CHUNK)
            # The first line to be taken is the last of the list.
            self._waiting = self._lines.feed(chunk)[::-1]
            if not chunk:
                last = self._lines.finish()
                if last is None:
                    raise StopIteration
                self._waiting = [last]
        return _lib.task_clean_log(self._waiting.pop())

    def close(self) -> None:
        """Ends the process and closes its pipe; may be called again."""
        with self._closing:
            end(self._process)
            if self._process.stdout is not None:
                self._process.stdout.close()

    def __enter__(self) -> ProcessLogStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def wait_ready(argv: list[str], ready_check: Callable[[str], bool], timeout_sec: float | None) -> bool:
    """Prints a process's lines until one satisfies the check: true then; false at its end, in time, or on any error."""
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        _log("cannot read the container's output: %s", error)
        return False
    try:
        return _watch(process, ready_check, timeout_sec)
    except Exception as error:
        _log("the container's output could not be followed: %s", error)
        return False
    finally:
        end(process)
        if process.stdout is not None:
            process.stdout.close()


def _log(message: str, error: Exception) -> None:
    import logging

    logging.getLogger(__name__).warning(message, error)


def _watch(process: subprocess.Popen[bytes], ready_check: Callable[[str], bool], timeout_sec: float | None) -> bool:
    from terok_native import _lib

    deadline = None if timeout_sec is None else time.monotonic() + timeout_sec
    assert process.stdout is not None
    fd = process.stdout.fileno()
    cleaner, lines = _lib.CleanerRef(), _lib.LinesRef()
    begun = False
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        if not select.select([fd], [], [], left)[0]:
            return False
        chunk = os.read(fd, _CHUNK)
        for part in chunk.splitlines(keepends=True):
            # Blank lines are left out; a part of a line is shown as soon as it is there.
            if begun or part.strip():
                _write(cleaner.feed(part))
            begun = bool(part.strip() or begun) and not part.endswith(b"\n")
            if any(_is_ready(line, ready_check) for line in lines.feed(part)):
                return True
        if not chunk:
            _write(cleaner.finish() + ("\n" if begun else ""))
            last = lines.finish()
            return last is not None and _is_ready(last, ready_check)


def _write(text: str) -> None:
    from terok_util.tty import write_text

    if text:
        write_text(text)


def _is_ready(line: str, ready_check: Callable[[str], bool]) -> bool:
    from terok_native import _lib

    shown = _lib.task_clean_log(line).strip()
    return bool(shown) and bool(ready_check(shown))


def _read_some(source: BinaryIO) -> bytes:
    """What is there, without waiting for a full chunk."""
    read1 = getattr(source, "read1", None)
    if read1 is not None:
        return read1(_CHUNK)
    try:
        return os.read(source.fileno(), _CHUNK)
    except (AttributeError, OSError):
        return source.read(_CHUNK)


def _pump(source: BinaryIO, sink: BinaryIO | None, *, close_sink: bool = False) -> None:
    try:
        while chunk := _read_some(source):
            if sink is not None:
                sink.write(chunk)
                sink.flush()
    except (OSError, ValueError):
        return
    finally:
        if close_sink and sink is not None:
            with contextlib.suppress(OSError):
                sink.close()


def run_piped(
    argv: list[str],
    *,
    stdin: BinaryIO,
    stdout: BinaryIO,
    stderr: BinaryIO | None,
    timeout: float | None,
    env: dict[str, str] | None = None,
) -> int:
    """Connects a process with three streams and gives its exit status; ``TimeoutExpired`` when it lasts too long."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    jobs = (
        (stdin, process.stdin, True),
        (process.stdout, stdout, False),
        (process.stderr, stderr, False),
    )
    pumps = [threading.Thread(target=_pump, args=(a, b), kwargs={"close_sink": c}, daemon=True) for a, b, c in jobs]
    for pump in pumps:
        pump.start()
    try:
        return process.wait(timeout=timeout)
    finally:
        end(process)
        for pump in pumps[1:]:
            pump.join(1.0)
        pumps[0].join(0.05)
        _close_idle(process, pumps)


def _close_idle(process: subprocess.Popen[bytes], pumps: list[threading.Thread]) -> None:
    """Closes the pipes whose pump has ended; a pump that still reads keeps its pipe until it notices."""
    for pipe, pump in zip((process.stdin, process.stdout, process.stderr), pumps, strict=True):
        if pipe is not None and not pump.is_alive():
            with contextlib.suppress(OSError):
                pipe.close()
