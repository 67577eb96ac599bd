"""Looks for a secret wherever a container, or another user of the host, could see it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

from terok_util.shell import command_line

_SAMPLE_EVERY_S = 0.02
_LOG_LIMIT = 64 << 20


class ProcessWatch:
    """Samples the arguments of every process, and the environment of those below a container, while it is entered.

    The processes of the host side legitimately hold the key in memory; none may hold it in an argument.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.found: set[str] = set()
        self.samples = 0

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    self._look(entry)
            self.samples += 1
            time.sleep(_SAMPLE_EVERY_S)

    def _look(self, process: Path) -> None:
        try:
            argv = (process / "cmdline").read_bytes()
            environ = (process / "environ").read_bytes() if int(process.name) != os.getpid() else b""
        except (OSError, ProcessLookupError):
            return
        for what, text in (("argument", argv), ("environment", environ)):
            if self._key in text:
                program = argv.split(b"\0")[0].decode(errors="replace")
                self.found.add(f"{what} of process {process.name}: {program}")


def search_for_key(
    container: str, image: str, key: str, host_paths: list[Path], watch: ProcessWatch, *, whole: bool = True
) -> list[str]:
    """Return one line per place where *key* stands; empty when it stands nowhere.

    Searched: ``podman inspect``, every file of the container, the image's history, the container's log, the given files
    and folders of the host, and what *watch* saw of processes. Without *whole* only those files of the container are
    read that it wrote itself; that is enough for a key that is younger than the image.
    """
    files = ["podman", "export", container] if whole else _written_files(container)
    places: list[tuple[str, list[str]]] = [
        ("podman inspect", ["podman", "inspect", container]),
        ("image history", ["podman", "history", "--no-trunc", image]),
        ("container log", ["podman", "logs", container]),
        ("files of the container", files),
    ]
    needle = key.encode()
    found = [what for what, command in places if _in_output(command, needle)]
    found += [f"host file {path}" for path in _files(host_paths) if _in_file(path, needle)]
    found += sorted(watch.found)
    print(f"    searched {len(places)} views of the container, {watch.samples} samples of all processes, host files")
    return found


def _written_files(container: str) -> list[str]:
    """The command that prints the container's own layer; its files may belong to ids of its user namespace."""
    asked = ["podman", "inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", container]
    layer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return ["podman", "unshare", "tar", "-C", layer, "-cf", "-", "."]


def _in_output(command: list[str], needle: bytes) -> bool:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        hit = _in_stream(process.stdout, needle)
        process.stdout.read()
    if process.returncode != 0:
        raise RuntimeError(f"cannot search: `{command_line(*command)}` ended with {process.returncode}")
    return hit


def _in_stream(stream, needle: bytes) -> bool:
    tail = b""
    while chunk := stream.read(1 << 20):
        if needle in tail + chunk:
            return True
        tail = chunk[-len(needle) :]
    return False


def _files(paths: list[Path]):
    for path in paths:
        if path.is_file():
            yield path
        else:
            files = (p for p in path.rglob("*") if p.is_file() and not p.is_symlink())
            yield from (p for p in files if p.stat().st_size < _LOG_LIMIT)


def _in_file(path: Path, needle: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return _in_stream(stream, needle)
    except OSError:
        return False
