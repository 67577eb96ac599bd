"""Following a running container: its output to the terminal, its end explained.

Output is shown as soon as it is there, also a part of a line, and without what could steer a terminal but for colours.

The deadline applies to the reading loop itself, so a silent container cannot hold the caller for ever. Ctrl-C leaves
the container running and says how to get back to it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable

from terok_util.shell import command_line

from terok_executor.container import logs

#: What the init script prints when the workspace is ready.
INIT_COMPLETE = b">> init complete"
#: Exit code of a followed run whose end could not be learned.
UNKNOWN_EXIT = 1
#: Exit status after Ctrl-C.
INTERRUPTED = 130

_CHUNK = 65536


def follow(name: str, *, deadline_s: float, on_ready: Callable[[], None] | None = None) -> int:
    """Copy the container's output to standard output until it ends; return its exit code.

    Args:
        name: Container name.
        deadline_s: Seconds after which following stops (the container keeps running).
        on_ready: Called once, when the init script reports that the workspace is ready.

    Raises:
        SystemExit: status 130 after Ctrl-C.
    """
    try:
        process = logs.stream_logs_process(name, follow=True, merge_stderr=True)
    except FileNotFoundError:
        _note(f"cannot follow container `{name}`: podman is not installed")
        return UNKNOWN_EXIT
    try:
        finished = _copy(process, time.monotonic() + deadline_s, on_ready)
    except KeyboardInterrupt:
        _note(
            f"\nstopped following; container `{name}` keeps running\n"
            f"hint: follow it again with `{command_line('podman', 'logs', '-f', name)}`, "
            f"end it with `{command_line('terok-executor', 'stop', name)}`"
        )
        raise SystemExit(INTERRUPTED) from None
    finally:
        _end(process)
    if not finished:
        _note(
            f"container `{name}` still runs after {deadline_s:.0f} seconds; following stops here\n"
            f"hint: end it with `{command_line('terok-executor', 'stop', name)}`"
        )
        return UNKNOWN_EXIT
    return _exit_code(name)


def _copy(process: subprocess.Popen[bytes], deadline: float, on_ready: Callable[[], None] | None) -> bool:
    """Copy until the stream ends (``True``) or the deadline passes (``False``)."""
    assert process.stdout is not None
    from terok_native import _lib
    from terok_util.tty import write_text

    source = process.stdout.fileno()
    cleaner, tail = _lib.CleanerRef(), b""
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([source], [], [], left)
        if not readable:
            continue
        chunk = os.read(source, _CHUNK)
        write_text(cleaner.feed(chunk) if chunk else cleaner.finish())
        if not chunk:
            return True
        if on_ready is not None:
            tail = tail[-len(INIT_COMPLETE) :] + chunk
            if INIT_COMPLETE in tail:
                on_ready()
                on_ready = None
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _exit_code(name: str) -> int:
    try:
        return logs.wait_for_exit(name, timeout=10)
    except (RuntimeError, TimeoutError, FileNotFoundError) as error:
        _note(f"the exit code is not known: {error}")
        return UNKNOWN_EXIT


def explain_exit(name: str, code: int, timeout: int) -> str:
    """Say in one line how a followed run ended; *timeout* is the run's own limit in seconds."""
    if code == 0:
        return "the agent finished (exit code 0)"
    if code == 124:
        return f"the agent ran into its time limit of {timeout} seconds (exit code 124)"
    if code == 137:
        cause = "it ran out of memory" if _out_of_memory(name) else "it was killed, possibly for lack of memory"
        return f"the agent ended by SIGKILL: {cause} (exit code 137)"
    return f"the agent failed (exit code {code})"


def _out_of_memory(name: str) -> bool:
    try:
        done = subprocess.run(["podman", "container", "inspect", name], capture_output=True, timeout=10, check=True)
        return bool(json.loads(done.stdout)[0]["State"].get("OOMKilled"))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return False


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
