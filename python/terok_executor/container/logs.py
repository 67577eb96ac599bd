"""Waiting for a container and reading what it wrote; every call is one ``podman`` child process.

A failure of podman itself is never reported as the exit code of a container.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from terok_util.tty import clean_text


def build_logs_cmd(
    name: str, *, follow: bool = False, tail: int | None = None, timestamps: bool = False, since: str | None = None,
) -> list[str]:  # fmt: skip
    """Return the ``podman logs`` argv; *tail* is a number of lines (0 is meaningful), *since* a podman time or span."""
    command = ["podman", "logs"]
    if follow:
        command.append("-f")
    if timestamps:
        command.append("--timestamps")
    if tail is not None:
        command += ["--tail", str(tail)]
    if since:
        command += ["--since", since]
    return [*command, name]


def wait_for_exit(container_name: str, timeout: float | None = None) -> int:
    """Block until the container ends and return its exit code (124 and 125 are ordinary codes).

    Raises:
        TimeoutError: it still runs after *timeout* seconds.
        RuntimeError: podman failed or did not print a number.
        FileNotFoundError: podman is not installed.
    """
    try:
        done = subprocess.run(
            ["podman", "wait", container_name], capture_output=True, text=True, errors="replace", timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"container `{container_name}` still runs after {timeout} seconds") from None
    if done.returncode != 0:
        said = clean_text(done.stderr.strip() or done.stdout.strip()) or "podman printed nothing"
        raise RuntimeError(f"cannot wait for container `{container_name}` (returncode={done.returncode}): {said}")
    try:
        return int(done.stdout.strip())
    except ValueError:
        raise RuntimeError(
            f"cannot read the exit code of container `{container_name}`: "
            f"podman printed stdout={done.stdout!r}, stderr={done.stderr!r}"
        ) from None


def read_logs(container_name: str, *, tail: int | None, timestamps: bool, since: str | None) -> str:
    """Return what the container wrote: its standard output, then its standard error.

    Raises:
        RuntimeError: podman failed, for example because there is no such container, or the log is larger than 16 MiB.
        FileNotFoundError: podman is not installed.
    """
    from terok_native import _lib

    return _lib.podman_logs(container_name, tail=tail, timestamps=timestamps, since=since or None)


def capture_logs(container_name: str, dest: Path, *, timestamps: bool = True, timeout: float = 60.0) -> bool:
    """Write both output streams of the container to *dest*, fit for a terminal; an earlier file survives a failure.

    Returns ``False`` (and leaves no partial file) when podman is missing or fails, time runs out, or *dest* cannot be
    written; never raises for these.
    """
    from terok_native import _lib

    return _lib.podman_capture_logs(container_name, dest, timestamps=timestamps, timeout=timeout)


def stream_logs_process(
    container_name: str, *, follow: bool = False, tail: int | None = None, timestamps: bool = False,
    merge_stderr: bool = False,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start ``podman logs`` and hand over the process; its pipes are binary and can be polled with ``select``."""
    command = build_logs_cmd(container_name, follow=follow, tail=tail, timestamps=timestamps)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge_stderr else subprocess.PIPE,
    )
