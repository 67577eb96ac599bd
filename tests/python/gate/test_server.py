"""`GateServer`: binding, serving and stopping from Python."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest
from gate_client import bridge, commit, git, mirror
from host.ports import free_port
from terok_sandbox import GateServer, mint_gate_token


# improves: 22-S1-chunked
@pytest.mark.parametrize("transport", ["socket", "tcp"])
def test_clone_and_push_of_three_megabytes(tmp_path: Path, transport: str) -> None:
    """With git's default settings, which send such a push in chunks."""
    token, bare = mint_gate_token(), mirror(tmp_path, "proj")
    path, port = tmp_path / "s" / "gate-server.sock", free_port()
    where = {"socket_path": path} if transport == "socket" else {"host": "127.0.0.1", "port": port}
    server = GateServer(mirror_root=tmp_path, token=token, scope="proj", **where)

    async def scene() -> None:
        await server.stop()
        await server.start()
        await server.start()
        if transport == "socket":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await asyncio.to_thread(use, bridge(path) if transport == "socket" else port)
        await server.stop()
        await server.stop()

    def use(port: int) -> None:
        url, copy = f"http://{token}:@127.0.0.1:{port}/proj.git", tmp_path / "copy"
        git("clone", "-q", url, copy)
        tip = commit(copy, "large", os.urandom(3 << 20))
        git("push", "-q", "origin", "HEAD:main", at=copy)
        assert git("rev-parse", "main", at=bare).stdout.strip() == tip
        other = url.replace(token, mint_gate_token())
        assert "403" in git("ls-remote", other, check=False).stderr

    asyncio.run(scene())
    if transport == "socket":
        assert path.exists(), "the name stays"
        with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


# improves: 22-S5-repository-name 22-S6-token-out-of-sight
def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    def start(**changes: object) -> None:
        given = {"mirror_root": tmp_path, "token": "t", "scope": "proj"} | changes
        asyncio.run(GateServer(**given).start())

    with pytest.raises(ValueError, match="socket_path or host"):
        start()
    with pytest.raises(ValueError, match="socket_path or host"):
        start(host="127.0.0.1")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1"):
        start(host="0.0.0.0", port=0)
    file = tmp_path / "file"
    file.write_text("keep")
    with pytest.raises(RuntimeError, match="not a socket"):
        start(socket_path=file)
    assert file.read_text() == "keep"
    for scope in ("", "..", ".git", "-x", "a/b"):
        with pytest.raises(ValueError, match="cannot serve the repository"):
            start(scope=scope, socket_path=tmp_path / "s")
    with pytest.raises(ValueError, match="token"):
        start(token="", socket_path=tmp_path / "s")
