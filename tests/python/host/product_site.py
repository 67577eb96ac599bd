"""The product in a lane: its packages where that lane's interpreter finds them, its settings in a folder of the test.

What it installs and writes lies in the folder: state, vault, sockets, and the copy of Podman's configuration that the
hooks are listed in. Real root's configuration is the system's, so there the copy is laid over `/etc/containers` in a
mount namespace of the script's own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lane import Lane

PACKAGES = ("terok_native", "terok_util", "terok_sandbox")
ROUTES = {"claude": {"upstream": "http://127.0.0.1:9", "auth_header": "dynamic", "auth_prefix": ""}}
AS_ROOT = """
cp -a /etc/containers/. "$1/etc"
[ -z "${CONTAINERS_CONF:-}" ] || cp "$CONTAINERS_CONF" "$1/etc/containers.conf"
mount --bind "$1/etc" /etc/containers
unset CONTAINERS_CONF
shift
exec "$@"
"""
AS_USER = """
cp -a "$HOME/.config/containers" "$1/config/" 2>/dev/null || mkdir "$1/config/containers"
shift
exec "$@"
"""
HEAD = f"ROUTES = {ROUTES!r}" + """
import json, os, socket, subprocess, sys, time
from pathlib import Path
from terok_sandbox import RunSpec, Sandbox, SandboxConfig, VolumeSpec, launch
IMAGE = "localhost/busybox:test"
cfg = SandboxConfig()
ROOT = Path(os.environ["TEROK_ROOT"])
def tell(value): print("TOLD " + json.dumps(value))
def podman(*args): return subprocess.run(["podman", *args], capture_output=True, text=True)
def set_up():
    from terok_sandbox.commands import _handle_sandbox_setup
    cfg.vault_dir.mkdir(parents=True, mode=0o700)
    cfg.routes_path.write_text(json.dumps(ROUTES))
    _handle_sandbox_setup(passphrase_tier="session-file", cfg=cfg)
def until(happens, limit=30.0):
    end = time.monotonic() + limit
    while time.monotonic() < end and not happens(): time.sleep(0.02)
    return bool(happens())
def health(name, port=None):
    # While the vault is being opened, the answer is 503.
    until(lambda: asked_once(name, port) == 200)
    return asked_once(name, port)
def asked_once(name, port):
    client = socket.socket(socket.AF_INET if port else socket.AF_UNIX)
    client.settimeout(60)
    client.connect(("127.0.0.1", port) if port else str(cfg.runtime_dir / "run" / name / "vault.sock"))
    client.sendall(b"GET /-/health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    return int(client.recv(64).split()[1])
def supervisors():
    found, mark = [], str(cfg.state_dir / "supervisor_wrapper.py").encode()
    for entry in Path("/proc").iterdir():
        try: argv = (entry / "cmdline").read_bytes().split(b"\\0") if entry.name.isdigit() else []
        except OSError: continue
        if mark in argv: found.append(int(entry.name))
    return found
def supervised(name, *command, **more):
    made = launch.allocate_per_container_resources(cfg, name)
    sidecar = launch.write_sidecar(name, cfg=cfg, per_container=made)
    mounts = (VolumeSpec(made.container_runtime_dir, "/run/terok", live=True), VolumeSpec(ROOT / "w", "/workspace", "private"))
    fields = dict(container_name=name, image=IMAGE, env={}, volumes=mounts, command=command, task_dir=ROOT, annotations={"terok.sandbox.sidecar": str(sidecar)})
    return made, RunSpec(**(fields | more))
def removal(box, name):
    # In a mount namespace that is a slave, as root's scripts have here, Podman 4 can clean a container with ids of its own
    # up in conmon's namespace alone; the next call finds that out.
    errors = [result.error for result in box.stop([name])]
    busy = any("device or resource busy" in (error or "") for error in errors)
    return [result.error for result in box.stop([name])] if busy else errors
(ROOT / "w").mkdir(parents=True, exist_ok=True)
"""


@dataclass
class ProductSite:
    """One lane with the product in it."""

    lane: Lane
    folder: Path

    def prepare(self) -> ProductSite:
        """Copies the installed packages and makes the folders."""
        for name in PACKAGES:
            spec = importlib.util.find_spec(name)
            assert spec and spec.origin
            source = Path(spec.origin).parent
            shutil.copytree(source, self.folder / "site" / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("etc", "config", "r"):
            (self.folder / name).mkdir(mode=0o755)
        if os.getuid() == 0:
            stat = self.folder.stat()
            owner = (stat.st_uid, stat.st_gid) if self.lane.rootless else (0, 0)
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, *owner, follow_symlinks=False)
        return self

    def tell(self, text: str, **environment: str):
        """Runs Python text as the lane's user; the value it gives to ``tell``."""
        script = self.folder / "script.py"
        script.write_text(HEAD + text)
        folder = str(self.folder)
        settings = {
            "PYTHONPATH": f"{folder}/site",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TEROK_ROOT": f"{folder}/s",
            "TEROK_SANDBOX_RUNTIME_DIR": f"{folder}/r",
            "TEROK_PORT_REGISTRY_DIR": f"{folder}/ports",
            "TEROK_CONFIG_FILE": f"{folder}/config.yml",
            # The scripts keep their workspace beside the state.
            "TEROK_ALLOW_DANGEROUS_MOUNTS": f"{folder}/s/w",
        }
        if self.lane.rootless:
            settings["XDG_CONFIG_HOME"] = f"{folder}/config"
        else:
            settings["TEROK_ALLOW_ROOT"] = "1"
        shell: list[str] = [] if self.lane.rootless else ["unshare", "--mount", "--propagation", "slave"]
        shell += ["sh", "-ec", AS_USER if self.lane.rootless else AS_ROOT, "sh", folder]
        python = "/usr/bin/python3" if self.lane.number == 4 else sys.executable
        words = [f"{name}={value}" for name, value in (settings | environment).items()]
        done = self.lane.run(*shell, "env", *words, python, script, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        told = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
        assert told, done.stdout + done.stderr
        return json.loads(told[-1].removeprefix("TOLD "))
