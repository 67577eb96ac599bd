"""git as a client of a gate: a mirror, commits, and a bridge to a Unix socket as containers have one."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path


def git(*words: object, at: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git without anybody's configuration; what it says is captured."""
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {"GIT_TERMINAL_PROMPT": "0", "HOME": "/nonexistent"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "Tester", f"GIT_{who}_EMAIL": "tester@localhost"}
    place = ["-C", str(at)] if at else []
    argv = ["git", *place, *map(str, words)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def mirror(folder: Path, name: str) -> Path:
    """A bare repository with one commit on `main`."""
    bare, work = folder / f"{name}.git", folder / f"{name}-work"
    git("init", "-q", "--bare", "-b", "main", bare)
    git("init", "-q", "-b", "main", work)
    commit(work, "README", b"hello\n")
    git("push", "-q", bare, "main", at=work)
    return bare


def commit(work: Path, name: str, content: bytes) -> str:
    """Write and commit a file; the commit's id."""
    (work / name).write_bytes(content)
    git("add", name, at=work)
    git("commit", "-q", "-m", name, at=work)
    return git("rev-parse", "HEAD", at=work).stdout.strip()


def bridge(path: Path) -> int:
    """A port whose connections lead to the Unix socket *path*, while the test process lives."""
    listener = socket.create_server(("127.0.0.1", 0))

    def relay(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def carry(client: socket.socket) -> None:
        # Both ends are closed, not only shut down: a client with more to send would wait for the open one to read on.
        with client, socket.socket(socket.AF_UNIX) as gate:
            try:
                gate.connect(str(path))
            except OSError:
                return
            answers = threading.Thread(target=relay, args=(gate, client), daemon=True)
            answers.start()
            relay(client, gate)
            answers.join()

    def serve() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=carry, args=(client,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])
