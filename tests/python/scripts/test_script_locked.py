"""An image build takes from npm and PyPI what the lock files name, against a registry that lies."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from container_box import SCRIPTS

BODY = b"#!/usr/bin/env node\nconsole.log('it runs')\n"


def package(version: str, body: bytes = BODY) -> bytes:
    """The archive of a package `tool` with a program and an install script that leaves a file."""
    manifest = {"name": "tool", "version": version, "bin": "tool.js", "scripts": {"install": "touch installed"}}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in (("package.json", json.dumps(manifest).encode()), ("tool.js", body)):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def integrity(archive: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()


class Npm:
    """A registry with two versions of `tool`, a lock file for the first, and the script under test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.archives = folder, {version: package(version) for version in ("1.0.0", "2.0.0")}
        entry = {"version": "1.0.0", "integrity": integrity(self.archives["1.0.0"]), "hasInstallScript": True}
        self.lock = {
            "lockfileVersion": 3,
            "requires": True,
            "packages": {"": {"dependencies": {"tool": "1.0.0"}}, "node_modules/tool": {**entry, "bin": {"tool": "tool.js"}}},
        }
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(registry.answer(self.path))

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> bytes:
        if path.endswith(".tgz"):
            return self.archives[path.rsplit("/", 1)[1].removesuffix(".tgz")]
        versions = {
            version: {
                **{"name": "tool", "version": version, "bin": {"tool": "tool.js"}, "hasInstallScript": True},
                "dist": {"tarball": f"{self.url}tool/-/{version}.tgz", "integrity": integrity(archive)},
            }
            for version, archive in self.archives.items()
        }
        return json.dumps({"name": "tool", "dist-tags": {"latest": "2.0.0"}, "versions": versions}).encode()

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "locks").mkdir(exist_ok=True)
        (self.folder / "locks/agent.package-lock.json").write_text(json.dumps(self.lock))
        own = {
            **{"HOME": str(self.folder), "PATH": os.environ["PATH"], "NPM_CONFIG_PREFIX": str(self.folder / "prefix")},
            **{"npm_config_registry": self.url, "TEROK_LOCKS": str(self.folder / "locks")},
            "TEROK_NPM_CACHE": str(self.folder / "cache"),
        }
        command = [SCRIPTS / "terok-locked-npm", "agent", *arguments]
        return subprocess.run(command, env=own, capture_output=True, text=True, timeout=120)

    def program(self) -> str:
        return subprocess.check_output([self.folder / "prefix/bin/tool"], text=True)

    @property
    def has_run_the_script(self) -> bool:
        return (self.folder / "prefix/lib/node_modules/tool/installed").exists()


@pytest.fixture
def npm(tmp_path: Path):
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    site = Npm(tmp_path)
    yield site
    site.server.shutdown()


def test_locked_package_is_installed_without_its_script(npm: Npm) -> None:
    done = npm.install("tool@1.0.0")
    assert done.returncode == 0, done.stderr
    assert npm.program() == "it runs\n" and not npm.has_run_the_script


def test_script_runs_for_the_package_that_is_named(npm: Npm) -> None:
    done = npm.install("--scripts", "tool", "tool@1.0.0")
    assert done.returncode == 0, done.stderr
    assert npm.program() == "it runs\n" and npm.has_run_the_script


# holds: image-dependencies-locked
def test_package_that_the_registry_replaced_is_refused(npm: Npm) -> None:
    npm.archives["1.0.0"] = package("1.0.0", BODY + b"steal()\n")
    done = npm.install("--scripts", "tool", "tool@1.0.0")
    assert done.returncode != 0 and "EINTEGRITY" in done.stderr
    assert not (npm.folder / "prefix/bin/tool").exists() and not npm.has_run_the_script


def test_other_version_is_installed_without_the_lock_and_said(npm: Npm) -> None:
    done = npm.install("tool@2.0.0")
    assert done.returncode == 0 and "installing tool@2.0.0 without a lock" in done.stderr, done.stderr
    assert npm.program() == "it runs\n"


def test_platform_that_the_lock_lacks_is_installed_without_it(npm: Npm) -> None:
    platform = subprocess.check_output(["node", "-p", "`${process.platform}-${process.arch}`"], text=True).strip()
    npm.lock["incomplete"] = [f"tool-{platform}-musl", "tool-plan9-vax"]
    assert "without a lock" not in npm.install("tool@1.0.0").stderr
    npm.lock["incomplete"] = [f"tool-{platform}"]
    assert "installing tool@1.0.0 without a lock" in npm.install("tool@1.0.0").stderr


class Pip:
    """A folder of wheels in place of an index, and a lock file for one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wheel = folder, folder / "index" / "tool-1.0-py3-none-any.whl"
        self.wheel.parent.mkdir()
        self.write("print('it runs')\n")
        digest = hashlib.sha256(self.wheel.read_bytes()).hexdigest()
        (folder / "locks").mkdir()
        (folder / "locks/agent.requirements.txt").write_text(f"tool==1.0 \\\n    --hash=sha256:{digest}\n")

    def write(self, body: str) -> None:
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("tool.py", body)
            archive.writestr("tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")
            archive.writestr("tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr("tool-1.0.dist-info/RECORD", "")

    def run(self, version: str) -> subprocess.CompletedProcess[str]:
        own = {
            **{"HOME": str(self.folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheel.parent), "TEROK_LOCKS": str(self.folder / "locks")},
        }
        show = 'echo "index: $PIP_NO_INDEX"; ls $PIP_FIND_LINKS'
        command = [SCRIPTS / "terok-locked-pip", "agent", f"tool=={version}", "--", "sh", "-c", show]
        return subprocess.run(command, env=own, capture_output=True, text=True, timeout=120)


def test_command_finds_the_locked_files_alone(tmp_path: Path) -> None:
    done = Pip(tmp_path).run("1.0")
    assert done.stdout == "index: 1\ntool-1.0-py3-none-any.whl\n", done.stderr


# holds: image-dependencies-locked
def test_wheel_that_the_index_replaced_is_refused(tmp_path: Path) -> None:
    site = Pip(tmp_path)
    site.write("print('stolen')\n")
    done = site.run("1.0")
    assert done.returncode != 0 and done.stdout == "" and "DO NOT MATCH THE HASHES" in done.stderr


def test_other_version_runs_without_the_lock_and_says_so(tmp_path: Path) -> None:
    done = Pip(tmp_path).run("2.0")
    assert done.returncode == 0 and "installing tool==2.0 without a lock" in done.stderr


def test_every_lock_fits_its_recipe() -> None:
    tool = Path(__file__).resolve().parents[3] / "tools/locks.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
