"""Directories, secrets, text and users."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import terok_util
from terok_util import (
    ensure_dir,
    ensure_dir_writable,
    host_uid,
    podman_userns_args,
    sanitize_tty,
    write_sensitive_file,
)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_directories(tmp_path):
    ensure_dir(tmp_path / "a/b")
    ensure_dir(tmp_path / "a/b")
    ensure_dir_writable(tmp_path / "c/d", "state")
    assert (tmp_path / "a/b").is_dir() and (tmp_path / "c/d").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"file` as state directory: it is not a directory"):
        ensure_dir_writable(tmp_path / "file", "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_a_directory_of_somebody_else(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    program = (
        "import os, sys, pathlib\n"
        "from terok_util import ensure_dir_writable\n"
        "os.setresgid(1234, 1234, 1234); os.setresuid(1234, 1234, 1234)\n"
        "ensure_dir_writable(pathlib.Path(sys.argv[1]), 'state')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "theirs"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "state directory" in done.stderr and "chown -R 1234:1234" in done.stderr


def test_secrets_are_written_once(tmp_path):
    path = tmp_path / "keys" / "key"
    assert write_sensitive_file(path, "one") is True
    assert write_sensitive_file(path, b"two") is False
    assert path.read_text() == "one" and (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_secrets_do_not_follow_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(RuntimeError, match="symbolic link"):
        write_sensitive_file(tmp_path / "link" / "key", "x")
    assert not list((tmp_path / "real").iterdir())


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a\nb\tc\rd", "a b c d"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("x\u202ey\u200b", "x\\x202ey\\x200b"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("grün 🎉", "grün 🎉"),
        ("bad\udc80\x1b", "bad\\xdc80\\x1b"),
    ],
)
def test_terminal_text(text, safe):
    assert sanitize_tty(text) == safe


def test_users(monkeypatch):
    assert isinstance(host_uid(), int)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert podman_userns_args() == []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert podman_userns_args() == ["--userns=keep-id:uid=1000,gid=1000"]


def test_root_in_a_user_namespace_is_not_root(tmp_path):
    program = (
        "import os; from terok_util import host_uid, namespace_state_dir as d; print(os.geteuid(), host_uid(), d())"
    )
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", program]
    packages = Path(terok_util.__file__).parents[1]
    env = {"HOME": "/home/somebody", "PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}
    if os.geteuid() == 0:
        # The interpreter of a developer's root account may be closed to others; the system's is not.
        command[3] = "/usr/bin/python3"
        command = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if "unshare failed" in done.stderr or "No such file" in done.stderr:
        pytest.skip(f"this host has no user namespaces for ordinary users: {done.stderr.strip()}")
    euid, outer, state = done.stdout.split()
    assert (euid, state) == ("0", "/home/somebody/.local/share/terok") and outer != "0", done.stderr
