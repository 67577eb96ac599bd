"""A place of its own for the whole suite: home, state, vault and temp folder of a user who has just set the product up.

Invariants: only the image store is shared with the rest of the machine's tests; everything else lies below one folder
that goes away. Every provider's upstream is one loopback port, which each test fills with the model it wants, or leaves
empty. `traces` sees everything a launch can leave behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import host.ports

REPOSITORY = Path(__file__).resolve().parents[3]
MODEL_SERVER = REPOSITORY / "tests/fakes/model_server.py"
#: Agents with a stored key.
KEYED = ("claude", "codex", "kisski", "vibe")
DONE = {"steps": [{"say": "Nothing to do."}], "side": "Nothing"}


def executable(name: str) -> str:
    """One of our console scripts, beside the interpreter that runs this."""
    return str(Path(sys.executable).parent / name)


def until(condition: Callable[[], Any], what: str, limit: float = 60) -> Any:
    """Wait for a condition to give something; `AssertionError` names what did not happen."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.05)
    return value


class Site:
    """The user's account. `root` is its folder; make it with `opened`."""

    def __init__(self, root: Path, base: str, image: str) -> None:
        self.root, self.base, self.image = root, base, image
        self.home, self.state, self.temp = root / "home", root / "state", root / "tmp"
        self.port = host.ports.free_port()
        self.key = f"sk-e2e-{secrets.token_hex(24)}"
        self._count = 0

    # -- commands ----------------------------------------------------------------------------------------------------

    def run(self, *command: str, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run any command to its end, with text output captured."""
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)

    def cli(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `terok-executor`."""
        return self.run(executable("terok-executor"), *arguments, **options)

    def podman(self, *arguments: str, check: bool = True, timeout: float = 180) -> str:
        """Run podman; its standard output without the last line break."""
        done = self.run("podman", *arguments, timeout=timeout)
        assert not check or done.returncode == 0, f"podman {arguments} ended with {done.returncode}: {done.stderr}"
        return done.stdout.strip()

    def runner(self) -> Any:
        from terok_executor import AgentRunner

        return AgentRunner(base_image=self.base, family="deb")

    def state_of(self, container: str) -> str:
        return self.podman("inspect", "--format", "{{.State.Status}}", container)

    def inside(self, container: str, text: str, check: bool = True) -> str:
        """Run shell text in a running container as its user."""
        return self.podman("exec", container, "bash", "-lc", text, check=check)

    # -- what tests work with ------------------------------------------------------------------------------------------

    def name(self) -> str:
        """A fresh container name."""
        self._count += 1
        return f"e2e-{os.getpid()}-{self._count}"

    def repository(self, files: dict[str, str] | None = None) -> Path:
        """A git repository with one commit on `main`."""
        self._count += 1
        folder = self.root / "repos" / f"r{self._count}"
        folder.mkdir(parents=True)
        for name, text in (files or {"note.txt": "old line\n"}).items():
            (folder / name).write_text(text)
        self.git(folder, "init", "-q", "-b", "main")
        self.git(folder, "add", ".")
        self.git(folder, "-c", "user.name=Human", "-c", "user.email=human@localhost", "commit", "-q", "-m", "start")
        return folder

    def git(self, folder: Path, *arguments: str) -> str:
        done = self.run("git", "-C", str(folder), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextlib.contextmanager
    def model(self, script: dict[str, Any], *, require_key: bool = True) -> Iterator[Model]:
        """The scripted model at the upstream address; it refuses every key but the real one."""
        self._count += 1
        folder = self.root / "models" / str(self._count)
        folder.mkdir(parents=True)
        (folder / "script.json").write_text(json.dumps(script))
        log = folder / "requests.jsonl"
        command = [sys.executable, str(MODEL_SERVER), "--script", str(folder / "script.json"), "--log", str(log)]
        command += ["--port", str(self.port)]
        if require_key:
            key_file = folder / "key"
            key_file.touch(mode=0o600)
            key_file.write_text(self.key)
            command += ["--require-key-file", str(key_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None and server.stdout.readline(), "the model server did not start"
            if require_key:
                key_file.unlink()
            try:
                yield Model(log)
            finally:
                server.terminate()

    # -- what launches leave -------------------------------------------------------------------------------------------

    def database(self) -> Any:
        from terok_executor.integrations import sandbox

        return sandbox.SandboxConfig().open_credential_db()

    def traces(self) -> dict[str, set[str]]:
        """Everything a launch makes: containers, runtime directories, sidecars, journals, tokens, temp folders."""
        from terok_executor.integrations import sandbox

        cfg = sandbox.SandboxConfig()
        db = self.database()
        try:
            tokens = {f"{row['scope']}/{row['subject']}/{row['provider']}" for row in db.list_tokens()}
        finally:
            db.close()
        return {
            "containers": set(self.podman("ps", "-a", "--format", "{{.Names}}").split()),
            "runtime directories": _entries(cfg.runtime_dir / "run"),
            "sidecars": _entries(cfg.state_dir / "sidecar"),
            "records": _entries(cfg.state_dir / "run"),
            "journals": _entries(cfg.state_dir / "launches"),
            "tokens": tokens,
            "temp folders": _entries(self.temp),
        }

    @contextlib.contextmanager
    def leaves_nothing(self) -> Iterator[None]:
        """Fails unless the block leaves everything as it was."""
        before = self.traces()
        yield
        after = self.traces()
        left = {kind: after[kind] ^ before[kind] for kind in before if after[kind] != before[kind]}
        assert not left, f"left behind: {left}"

    def stop_all(self) -> None:
        """End every container there is, ours the way users do it, and all they left."""
        for name in self.podman("ps", "-a", "--format", "{{.Names}}").split():
            # At once; the verb would give its first process ten seconds to end by itself.
            self.podman("rm", "-f", "-t", "0", "--ignore", name)
            self.cli("stop", name)
        for leftover in self.temp.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)

    def supervisors(self, container: str) -> list[int]:
        """Processes of a container's supervisor, the watchdog first."""
        identifier = self.podman("inspect", "--format", "{{.Id}}", container)
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"supervisor" in words[0] and identifier.encode() in words:
                    parent = int(re.search(r"^PPid:\s*(\d+)", (entry / "status").read_text(), re.M)[1])  # type: ignore[index]
                    found.append((int(entry.name), parent))
        pids = {pid for pid, _ in found}
        return [pid for pid, parent in sorted(found, key=lambda pair: pair[1] in pids)]


class Model:
    """A running scripted model; its request log."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def steps(self, path: str) -> list[dict[str, Any]]:
        """The answered model requests on one API path."""
        return [r for r in self.requests() if r["path"] == path and r["status"] == 200 and r["method"] == "POST"]


def _entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")} if folder.is_dir() else set()


# -- setting up ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(root: Path, base: str, image: str) -> Iterator[Site]:
    """A site whose environment is this process's own until the end."""
    site = Site(root, base, image)
    saved, saved_temp = dict(os.environ), tempfile.tempdir
    try:
        _furnish(site)
        yield site
        site.stop_all()
    finally:
        os.environ.clear()
        os.environ.update(saved)
        tempfile.tempdir = saved_temp


def _furnish(site: Site) -> None:
    containers = Path.home() / ".config/containers"
    store = site.podman("info", "--format", "{{.Store.GraphRoot}}")
    for folder in (site.home / ".config/containers", site.home / ".config/terok/agent/agents", site.temp):
        folder.mkdir(parents=True)
    for name in ("containers.conf", "storage.conf"):
        if (containers / name).exists():
            shutil.copy(containers / name, site.home / ".config/containers" / name)
    _share_store(site.home / ".config/containers/storage.conf", store)
    for agent in KEYED:
        text = f"vault:\n  upstream: http://127.0.0.1:{site.port}\n"
        (site.home / f".config/terok/agent/agents/{agent}.yaml").write_text(text)
    os.environ |= {"HOME": str(site.home), "TEROK_ROOT": str(site.state), "TMPDIR": str(site.temp)}
    tempfile.tempdir = str(site.temp)
    for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TEROK_CONFIG_FILE"):
        os.environ.pop(name, None)
    done = site.cli("setup", "--no-images", "--passphrase-tier", "config")
    assert done.returncode == 0, done.stdout + done.stderr
    for agent in KEYED:
        done = site.cli("auth", agent, "--api-key", "-", input=site.key)
        assert done.returncode == 0, done.stdout + done.stderr


def _share_store(conf: Path, store: str) -> None:
    """The images are those of the account this runs in, whatever HOME says."""
    text = conf.read_text() if conf.exists() else '[storage]\ndriver = "overlay"\n'
    text = re.sub(r"(?m)^\s*graphroot\s*=.*\n", "", text)
    conf.write_text(text.replace("[storage]\n", f'[storage]\ngraphroot = "{store}"\n', 1))
