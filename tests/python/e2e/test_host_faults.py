"""A machine that is not in order: podman, disk, registry, vault. Each failure names its cause and leaves nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_site import DONE, Site, executable, until
from test_broker_faults import ask


def run_with_podman(site: Site, folder: Path, script: str | None) -> str:
    """The complaint of a run whose podman is the given shell script, or none at all."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("git", "bash", "sh", "env"):
        (programs / name).symlink_to(shutil.which(name) or name)
    if script is not None:
        (programs / "podman").write_text(f"#!/bin/bash\n{script}\n")
        (programs / "podman").chmod(0o755)
    run = ("run", "claude", str(site.repository()), "-p", "x", "--no-preflight", "--base", site.base)
    with site.leaves_nothing():
        done = site.cli(*run, env={**os.environ, "PATH": str(programs)})
    assert done.returncode not in (0, None) and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_podman_missing(site: Site, folder: Path) -> None:
    said = run_with_podman(site, folder, None)
    assert "podman" in said and "hint: install podman" in said, said


OLD = """
case " $* " in
*" --version "*|*" version "*) echo "podman version 3.0.1" ;;
*" run "*) echo 'Error: unknown option specified: "uid=1000,gid=1000"' >&2; exit 125 ;;
*) exec /usr/bin/podman "$@" ;;
esac"""


def test_podman_too_old(site: Site, folder: Path) -> None:
    said = run_with_podman(site, folder, OLD)
    assert "podman 4.3 or newer is needed" in said, said


@pytest.mark.parametrize("which", ["the launch", "everything"])
def test_podman_failing(site: Site, folder: Path, which: str) -> None:
    broken = "echo 'Error: the database is on fire' >&2; exit 125"
    script = f'if [ "$1" = run ]; then {broken}; fi\nexec /usr/bin/podman "$@"' if which == "the launch" else broken
    said = run_with_podman(site, folder, script)
    assert "the database is on fire" in said, said


def test_no_space_for_the_build(site: Site, folder: Path) -> None:
    """The temp folder of the build is a file system of a few kilobytes."""
    small = folder / "small"
    small.mkdir()
    build = f"TMPDIR={small} {executable('terok-executor')} build --base {site.base} --agents claude --rebuild"
    text = f"mount -t tmpfs -o size=16k tmpfs {small} && {build}; status=$?; ls -A {small}; exit $status"
    done = site.run("podman", "unshare", "bash", "-c", text)
    assert done.returncode not in (0, None), done.stdout
    assert "no space left on device" in done.stderr.lower(), done.stderr
    assert "Traceback" not in done.stderr and done.stdout.strip() == "", "the build folder is gone"


def test_unreachable_registry(site: Site) -> None:
    base = "localhost:1/fedora:44"
    with site.leaves_nothing():
        done = site.cli("build", "--base", base, "--family", "rpm", "--agents", "claude")
    assert done.returncode not in (0, None) and "Traceback" not in done.stderr
    assert base in done.stderr and "connection refused" in done.stderr and "hint: " in done.stderr, done.stderr


@pytest.fixture
def passphrase_file(site: Site) -> Iterator[Path]:
    """The configuration that holds the vault's passphrase, put back at the end."""
    (path,) = [p for p in site.root.rglob("config.yml") if "passphrase" in p.read_text()]
    text = path.read_text()
    yield path
    path.write_text(text)


@pytest.mark.parametrize(("state", "named"), [("locked", "NoPassphraseError"), ("wrong", "WrongPassphraseError")])
def test_vault_that_does_not_open(site: Site, passphrase_file: Path, state: str, named: str) -> None:
    """The agent starts without credentials and is told so; unlocking the vault later serves the same supervisor."""
    good = passphrase_file.read_text()
    lines = [line for line in good.splitlines() if "passphrase:" not in line]
    if state == "wrong":
        lines = [line.rpartition(":")[0] + ": wrong" if "passphrase:" in line else line for line in good.splitlines()]
    passphrase_file.write_text("\n".join(lines) + "\n")
    before = set(site.podman("ps", "-a", "--format", "{{.Names}}").split())
    done = site.run(
        executable("terok-executor"), "run", "claude", str(site.repository()), "--interactive", "--no-preflight",
        "--base", site.base,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert named in done.stderr and "without credentials" in done.stderr, done.stderr
    (container,) = set(site.podman("ps", "--format", "{{.Names}}").split()) - before
    assert ask(site, container, "terok-p-" + "0" * 32) == ("Vault locked", 503)
    passphrase_file.write_text(good)
    with site.model(DONE):
        until(lambda: ask(site, container, "terok-p-" + "0" * 32)[1] == 401, "the vault is open")
