"""Starting and stopping a signer from Python."""

from __future__ import annotations

import shlex
import socket
import stat
import struct
import sys
import time

import pytest
from openssh_site import add, ed25519, strings
from terok_sandbox.vault.ssh.signer import start_ssh_signer, start_ssh_signer_local
from terok_sandbox.vault.store.db import InvalidScopeName
from terok_sandbox.vault.store.encryption import NoPassphraseError, WrongPassphraseError


def ask(client: socket.socket, message: bytes) -> bytes:
    """Send a message, return the answer's body; empty when the connection is closed instead."""
    client.settimeout(10)
    client.sendall(strings(message))
    head = client.recv(4, socket.MSG_WAITALL)
    return client.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL) if head else b""


def connect(path: object) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def test_local_signer_serves_one_scope(vault):
    key = ed25519()
    add(vault.db, "proj", key, "mine")
    add(vault.db, "other", ed25519(), "theirs")
    path = vault.folder / "run" / "agent.sock"
    with start_ssh_signer_local(scope="proj", socket_path=path, db_path=vault.path) as signer:
        assert (signer.socket_path, signer.port) == (path, None)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with connect(path) as client:
            assert ask(client, b"\x0b") == b"\x0c" + struct.pack(">I", 1) + strings(key.blob, b"mine")
            signed = ask(client, b"\x0d" + strings(key.blob, b"data") + bytes(4))
            assert signed[0] == 14 and b"ssh-ed25519" in signed
        signer.stop()
        signer.stop()
    assert not path.exists()


def test_token_signer_on_a_socket_and_on_a_port(vault):
    key = ed25519()
    add(vault.db, "proj", key)
    token = vault.db.create_token("proj", "task", "proj", "ssh").encode()
    path = vault.folder / "agent.sock"
    # The socket wins over the port.
    with start_ssh_signer(vault.path, "127.0.0.1", 1, path) as signer, connect(path) as client:
        assert signer.port is None
        client.sendall(strings(token))
        assert ask(client, b"\x0b")[:5] == b"\x0c\0\0\0\x01"
        vault.db.revoke_tokens("proj", "task")
        assert ask(client, b"\x0b") == b"\x05"
    token = vault.db.create_token("proj", "task", "proj", "ssh").encode()
    with start_ssh_signer(vault.path, host="127.0.0.1", port=0) as signer:
        assert signer.socket_path is None and signer.port
        for shown, answer in ((token, b"\x0c"), (b"terok-p-" + b"0" * 32, b"")):
            with socket.create_connection(("127.0.0.1", signer.port)) as client:
                client.sendall(strings(shown))
                assert ask(client, b"\x0b")[:1] == answer


def test_what_is_refused(vault, monkeypatch):
    taken = vault.folder / "file"
    taken.write_text("keep")
    with pytest.raises(ValueError, match="neither a socket nor a port"):
        start_ssh_signer(vault.path)
    with pytest.raises(ValueError, match="neither a socket nor a port"):
        start_ssh_signer(vault.path, host="127.0.0.1")
    with pytest.raises(ValueError, match=r"only 127\.0\.0\.1"):
        start_ssh_signer(vault.path, host="0.0.0.0", port=0)
    with pytest.raises(RuntimeError, match="not a socket"):
        start_ssh_signer(vault.path, socket_path=taken)
    assert taken.read_text() == "keep"
    with pytest.raises(InvalidScopeName):
        start_ssh_signer_local(scope="../x", socket_path=vault.folder / "a.sock", db_path=vault.path)
    path = vault.folder / "agent.sock"
    with start_ssh_signer_local(scope="proj", socket_path=path, db_path=vault.path):
        with pytest.raises(RuntimeError, match="listening"):
            start_ssh_signer_local(scope="proj", socket_path=path, db_path=vault.path)
        assert path.exists()
    session = vault.folder / "runtime" / "vault.passphrase"
    session.write_text("wrong\n")
    with pytest.raises(WrongPassphraseError):
        start_ssh_signer_local(scope="proj", socket_path=path, db_path=vault.path)
    session.unlink()
    with pytest.raises(NoPassphraseError):
        start_ssh_signer(vault.path, socket_path=path)
    assert not path.exists()


# improves: 21-6.3-unlock-before-bind
def test_a_slow_passphrase_command_delays_and_does_not_fail(vault):
    """It may take longer than anybody waits for a socket: there is none before the vault is open."""
    (vault.folder / "runtime" / "vault.passphrase").unlink()
    program = vault.folder / "slow.py"
    program.write_text("import time; time.sleep(6); print('pw')")
    command = shlex.join([sys.executable, str(program)])
    (vault.folder / "config.yml").write_text(f"credentials:\n  passphrase_command: {command}\n")
    path = vault.folder / "agent.sock"
    began = time.monotonic()
    with start_ssh_signer_local(scope="proj", socket_path=path, db_path=vault.path), connect(path) as client:
        assert time.monotonic() - began >= 6
        assert ask(client, b"\x0b") == b"\x0c" + bytes(4)
