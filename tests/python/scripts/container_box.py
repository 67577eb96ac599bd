"""A file tree that looks like a container to the scripts, made of namespaces instead of Podman.

The scripts of an image use fixed paths (/tmp/.terok, /run/terok, /etc/claude-code, /home/dev). Every `run` gets new
user, mount, network and process namespaces whose root has the host's /usr and, at those paths, directories of the
box. Directories outlive a run, processes and the network do not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
RESOURCES = REPOSITORY / "python" / "terok_executor" / "resources"
SCRIPTS = RESOURCES / "scripts"
BRIDGES = REPOSITORY / "python" / "terok_sandbox" / "resources" / "bridges"
FIXTURES = REPOSITORY / "tests" / "fixtures" / "scripts"

SHARED_WITH_HOST = ("usr", "bin", "sbin", "lib", "lib32", "lib64")
OF_THE_BOX = ("etc", "home", "tmp", "run", "workspace", "terok", "srv")
FROM_HOST_ETC = ("ld.so.cache", "nsswitch.conf", "alternatives", "protocols", "services")

ENTER = r"""
set -eu
box=$1 python=$2 uid=$3; shift 3
new=$box/root
mount -t tmpfs none "$new"
for d in @SHARED@; do
    if [ -L "/$d" ]; then cp -a "/$d" "$new/$d"; elif [ -d "/$d" ]; then mkdir "$new/$d"; mount --rbind "/$d" "$new/$d"; fi
done
for d in @OWN@; do mkdir "$new/$d"; mount --rbind "$box/$d" "$new/$d"; done
mkdir -p "$new/dev" "$new/proc" "$new/old"
mount --rbind /dev "$new/dev"
mount -t proc proc "$new/proc"
mount --bind "$box/share" "$new/usr/local/share"
case $python in /usr | /usr/*) ;; *) mkdir -p "$new$python"; mount --rbind "$python" "$new$python" ;; esac
cd "$new"
pivot_root . old
umount -l /old
/terok/bin/python3 -c 'import fcntl, socket, struct
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack("16sH14s", b"lo", 0x49, b""))'
cd /
if [ "$uid" = 0 ]; then exec "$@"; fi
exec unshare --user --map-user="$uid" --map-group="$uid" -- "$@"
""".replace("@SHARED@", " ".join(SHARED_WITH_HOST)).replace("@OWN@", " ".join(OF_THE_BOX))

NAMESPACES = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"]


def why_not() -> str | None:
    """Why boxes cannot be made here, or None."""
    if not shutil.which("unshare"):
        return "util-linux is not installed"
    probe = [*NAMESPACES, "unshare", "--user", "--map-user=1000", "true"]
    result = subprocess.run(probe, capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else f"no user namespaces: {result.stderr.strip()}"


@dataclass
class Result:
    status: int
    out: str
    err: str


@dataclass
class Box:
    """`base` is where its directories are on the host; keep the path short, sockets live below it."""

    base: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("root", "share", *OF_THE_BOX):
            (self.base / name).mkdir(parents=True)
        for name in ("home/dev", "run/terok", "etc/profile.d", "terok/bin", "share/terok"):
            (self.base / name).mkdir()
        self._fill_etc()
        self._install_scripts()
        self.env = {
            "HOME": "/home/dev",
            "USER": "dev",
            "LANG": "C.UTF-8",
            "PATH": f"/terok/bin:{os.environ['PATH']}",
            **self.env,
        }

    def _fill_etc(self) -> None:
        etc = self.base / "etc"
        for name in FROM_HOST_ETC:
            source = Path("/etc") / name
            if source.is_dir():
                shutil.copytree(source, etc / name, symlinks=True, ignore=shutil.ignore_patterns("private"))
            elif source.exists():
                shutil.copy(source, etc / name)
        (etc / "passwd").write_text("root:x:0:0::/root:/bin/bash\ndev:x:1000:1000::/home/dev:/bin/bash\n")
        (etc / "group").write_text("root:x:0:\ndev:x:1000:\n")
        (etc / "hosts").write_text("127.0.0.1 localhost host.containers.internal\n")

    def _install_scripts(self) -> None:
        programs, shared = self.base / "terok/bin", self.base / "share/terok"
        (programs / "python3").symlink_to(Path(sys.executable).resolve())
        for path in (*SCRIPTS.iterdir(), *BRIDGES.iterdir()):
            if os.access(path, os.X_OK) and path.is_file():
                shutil.copy(path, programs / path.name)
        for name in ("terok-env-git-identity.sh", "terok-acp-env.sh", "terok-trust-workspace.py"):
            shutil.copy(SCRIPTS / name, shared / name)
        shutil.copy(SCRIPTS / "terok-env.sh", self.base / "etc/profile.d/terok-env.sh")

    def program(self, name: str, text: str) -> None:
        """Put a program on the box's PATH, in place of a real one."""
        path = self.base / "terok/bin" / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *argv: str, uid: int = 1000, stdin: str | None = None, timeout: float = 60, **env: str) -> Result:
        command = [*NAMESPACES, "sh", "-c", ENTER, "enter", str(self.base), sys.base_prefix, str(uid), *argv]
        result = subprocess.run(
            command,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(result.returncode, result.stdout, result.stderr)

    def bash(self, script: str, **options) -> Result:
        return self.run("bash", "-c", script, **options)
