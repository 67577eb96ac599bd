"""A container pushes over SSH, to a real sshd, with a key that it never holds."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from e2e_site import DONE, Site

sys.path.insert(0, str(Path(__file__).parents[1] / "signer"))
from openssh_site import SSHD, Key, Sshd, add, ed25519, outward_address, run

#: Where tokens and keys of a launch without a project belong.
SCOPE = "standalone"
COMMIT = "git -c user.name=A -c user.email=a@localhost commit -q --allow-empty -m {}"


@pytest.fixture
def key(site: Site):
    """A key in the vault, usable by launches without a project."""
    key = ed25519()
    db = site.database()
    key_id = add(db, SCOPE, key, f"tk-main:{SCOPE}")
    try:
        yield key
    finally:
        db.unassign_ssh_key(SCOPE, key_id)
        db.close()


@pytest.fixture
def sshd(site: Site, key: Key):
    """A server that containers can reach and that lets the key in; beside it a bare repository."""
    if SSHD is None:
        pytest.skip("sshd is not installed")
    address = outward_address()
    if address is None:
        pytest.skip("this machine has no address that a container could reach")
    folder = Path(tempfile.mkdtemp(prefix="ssh-", dir=site.root))
    run("git", "init", "-q", "--bare", "-b", "main", folder / "origin.git")
    with Sshd(folder / "sshd", [key], address) as server:
        yield server


def holds(command: list[str], traces: list[bytes]) -> bool:
    """Whether a program's output holds one of the texts; the output may be of any size."""
    overlap = max(map(len, traces))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        tail, size, found = b"", 0, False
        while piece := process.stdout.read(1 << 20):
            found = found or any(trace in tail + piece for trace in traces)
            tail, size = piece[-overlap:], size + len(piece)
    assert process.returncode == 0 and size > 0, command
    return found


def test_a_container_pushes_with_a_key_it_does_not_hold(site: Site, key: Key, sshd: Sshd) -> None:
    origin = sshd.folder.parent / "origin.git"
    repo = site.repository()
    with site.leaves_nothing(), site.model(DONE):
        name = site.runner().run_interactive("claude", str(repo), gate=False)
        known = f"mkdir -p ~/.ssh && printf %s {sshd.known_hosts_line.strip()!r} > ~/.ssh/known_hosts"
        site.inside(name, known)
        assert key.fingerprint in site.inside(name, "ssh-add -l")
        push = f"git push -q {sshd.url(origin)} HEAD:refs/heads/agent"
        site.inside(name, f"cd /workspace && {COMMIT.format('one')} && {push}")
        head = site.inside(name, "git -C /workspace rev-parse HEAD")
        assert site.git(origin, "rev-parse", "agent") == head
        assert f"publickey for {sshd.user}" in sshd.log and key.fingerprint in sshd.log

        traces = key.traces()
        for command in (
            ["podman", "export", name],
            ["podman", "inspect", name],
            # Processes of another user of the container stay unread; none of them is the agent's.
            ["podman", "exec", name, "sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; true"],
        ):
            assert not holds(command, traces), command
        # What is looked for would be found: the token, which the container does hold.
        token = site.inside(name, "echo $TEROK_SSH_SIGNER_TOKEN").encode()
        assert holds(["podman", "inspect", name], [token])

        db = site.database()
        db.revoke_tokens(SCOPE, next(row["subject"] for row in db.list_tokens() if row["provider"] == "ssh"))
        db.close()
        refused = site.inside(
            name, f"cd /workspace && {COMMIT.format('two')} && {push} 2>&1; echo status $?", check=False
        )
        assert "Permission denied" in refused and "status 128" in refused
        assert site.git(origin, "rev-parse", "agent") == head
        assert site.cli("stop", name).returncode == 0
