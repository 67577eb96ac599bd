"""An upstream behind a real sshd, reached with a key that only the vault has."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mirror_site import Project
from terok_sandbox import GateAuthNotConfigured
from terok_sandbox.gate.identity import ssh_variables

sys.path.append(str(Path(__file__).parents[1] / "signer"))

from openssh_site import MISSING, SSHD, Key, Sshd, add, ed25519, run

pytestmark = pytest.mark.skipif(bool(MISSING) or SSHD is None, reason="OpenSSH's programs or sshd are not installed")


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A vault that opens by itself."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    (runtime / "vault.passphrase").write_text("pw\n")
    monkeypatch.setenv("TEROK_SANDBOX_RUNTIME_DIR", str(runtime))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    from terok_sandbox import SandboxConfig
    from terok_sandbox.vault.store.db import CredentialDB

    db = CredentialDB(SandboxConfig().db_path, passphrase="pw")
    yield db
    db.close()


@pytest.fixture
def key(vault: Any) -> Key:
    """A key of the project's scope."""
    made = ed25519()
    add(vault, "proj", made)
    return made


def test_the_vaults_key_opens_the_upstream(project: Project, key: Key, tmp_path: Path) -> None:
    head = project.commit("one")
    with Sshd(tmp_path / "sshd", [key]) as server:
        gate = project.gate(upstream_url=server.url(project.upstream))
        try:
            assert gate.sync()["created"]
            assert project.tip("refs/heads/main") == head
            new = project.commit("two")
            assert gate.compare_vs_upstream().upstream_head == new
            assert gate.sync() == {
                "path": str(project.mirror),
                "upstream_url": server.url(project.upstream),
                "created": False,
                "success": True,
                "updated_branches": ["all"],
                "errors": [],
                "cache_refreshed": False,
            }
            assert project.tip("refs/heads/main") == new
        finally:
            gate.close()
    assert key.fingerprint in server.log


def folders() -> set[str]:
    """Directories of agents that run or were forgotten."""
    return {entry for entry in os.listdir(tempfile.gettempdir()) if entry.startswith("terok-gate-signer-")}


def test_the_agent_ends_with_its_gate(project: Project, key: Key, tmp_path: Path) -> None:
    before = folders()
    gate = project.gate(upstream_url="ssh://git@127.0.0.1:1/x")
    with pytest.raises(SystemExit, match="git clone --mirror failed"):
        gate.sync()
    assert len(folders() - before) == 1
    gate.close()
    assert folders() == before
    with pytest.raises(SystemExit):
        gate.sync()
    del gate
    assert folders() == before, "forgetting the gate is enough"


# improves: 22-1.3-host-keys
def test_a_host_that_changed_is_refused(project: Project, key: Key, tmp_path: Path) -> None:
    project.commit("one")
    with Sshd(tmp_path / "first", [key]) as server:
        gate = project.gate(upstream_url=server.url(project.upstream))
        assert gate.sync()["success"]
        pinned = project.mirror.parent / ".known_hosts"
        assert stat.S_IMODE(pinned.stat().st_mode) == 0o600
        assert server.known_hosts_line.split()[2] in pinned.read_text()
        port = server.port
    content = pinned.read_text()
    with Sshd(tmp_path / "second", [key]) as other:
        pinned.write_text(content.replace(f":{port} ", f":{other.port} "))
        changed = project.gate(upstream_url=other.url(project.upstream)).sync()
        assert changed["success"] is False
        assert "Host key verification failed" in changed["errors"][0]
    gate.close()


def test_own_keys_take_no_part(project: Project, key: Key, tmp_path: Path) -> None:
    """Neither the user's agent nor key files nor configuration open what the vault's key does not."""
    project.commit("one")
    home = Path(os.environ["HOME"]) / ".ssh"
    home.mkdir(mode=0o700)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "id_ed25519")
    own = ed25519()
    with Sshd(tmp_path / "sshd", [own]) as server:
        allowed = server.folder / "authorized_keys"
        allowed.write_text((home / "id_ed25519.pub").read_text())
        (home / "config").write_text(f"Host *\n  IdentityFile {home}/id_ed25519\n")
        gate = project.gate(upstream_url=server.url(project.upstream))
        with pytest.raises(SystemExit, match="Permission denied"):
            gate.sync()
        gate.close()
        command = f"ssh -F /dev/null -i {home}/id_ed25519 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        program = (
            "from terok_sandbox import GitGate\n"
            f"print(GitGate(scope='none', gate_path={str(project.mirror)!r}, use_personal_ssh=True,"
            f" upstream_url={server.url(project.upstream)!r}).sync()['created'])"
        )
        env = {**os.environ, "GIT_SSH_COMMAND": command}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False)
        assert done.stdout == "True\n", done.stderr


def test_without_a_key_or_with_a_locked_vault(project: Project, vault: Any, tmp_path: Path) -> None:
    gate = project.gate(upstream_url="git@127.0.0.1:x")
    before = folders()
    with pytest.raises(GateAuthNotConfigured):
        gate.sync()
    add(vault, "other", ed25519())
    with pytest.raises(GateAuthNotConfigured):
        gate.sync()
    add(vault, "proj", ed25519())
    (tmp_path / "runtime" / "vault.passphrase").unlink()
    with pytest.raises(GateAuthNotConfigured) as raised:
        gate.sync()
    assert raised.value.__cause__ is not None, "the reason is not hidden"
    assert folders() == before and not project.mirror.exists()


def test_words_of_the_command() -> None:
    told = ssh_variables(Path("/a b/agent"), Path("/x%y/.known_hosts"))
    assert told["SSH_AUTH_SOCK"] == "/a b/agent"
    command = told["GIT_SSH_COMMAND"]
    assert command.startswith("ssh -F /dev/null -o ") and "IdentitiesOnly" not in command
    shown = run("ssh", "-G", *shlex.split(command)[1:], "host.example").stdout
    assert "identityagent /a b/agent" in shown and "userknownhostsfile /x%y/.known_hosts" in shown
    assert "batchmode yes" in shown and "stricthostkeychecking accept-new" in shown
