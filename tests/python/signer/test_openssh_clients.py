"""OpenSSH's own programs against the signer: through the container's bridge with a token, and on a local socket."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from openssh_site import Bridged, Key, Sshd, add, run
from terok_sandbox.vault.ssh.signer import start_ssh_signer, start_ssh_signer_local

SCOPE, SUBJECT = "proj", "task"


@pytest.fixture(params=["bridged", "bridged over tcp", "local"])
def agent(request: pytest.FixtureRequest, vault, keys: list[Key]):
    """The path of an agent socket that offers *keys*."""
    for number, key in enumerate(keys):
        add(vault.db, SCOPE, key, f"key {number}")
    path = vault.folder / "agent.sock"
    if request.param == "local":
        with start_ssh_signer_local(scope=SCOPE, socket_path=path, db_path=vault.path):
            yield path
        return
    token = vault.db.create_token(SCOPE, SUBJECT, SCOPE, "ssh")
    if request.param == "bridged":
        with (
            start_ssh_signer(vault.path, socket_path=path),
            Bridged(vault.folder, token, TEROK_SSH_SIGNER_SOCKET=str(path)) as bridged,
        ):
            yield bridged
        return
    with (
        start_ssh_signer(vault.path, port=0) as signer,
        Bridged(vault.folder, token, TEROK_SSH_SIGNER_PORT=str(signer.port)) as bridged,
    ):
        yield bridged


def using(socket: Path) -> dict[str, str]:
    return dict(os.environ, SSH_AUTH_SOCK=str(socket))


@pytest.fixture
def socket_agent(vault, keys: list[Key]):
    """The path of a local agent socket that offers *keys*."""
    for key in keys:
        add(vault.db, SCOPE, key, key.kind)
    path = vault.folder / "agent.sock"
    with start_ssh_signer_local(scope=SCOPE, socket_path=path, db_path=vault.path):
        yield path


def test_ssh_add_lists_main_keys_first(vault, keys, socket_agent):
    vault.db.set_ssh_key_comment(keys[1].fingerprint, f"tk-main:{SCOPE}")
    lines = run("ssh-add", "-L", env=using(socket_agent)).stdout.splitlines()
    assert lines == [f"{keys[1].public_line} tk-main:{SCOPE}"] + [
        f"{keys[n].public_line} {keys[n].kind}" for n in (0, 2)
    ]
    listed = run("ssh-add", "-l", env=using(socket_agent)).stdout
    assert [line.split()[:2] for line in listed.splitlines()] == [
        ["2048", keys[1].fingerprint],
        ["256", keys[0].fingerprint],
        ["256", keys[2].fingerprint],
    ]


def test_changes_are_refused_and_nothing_changes(keys, agent, tmp_path):
    env = using(agent)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "new")
    (tmp_path / "known.pub").write_text(keys[0].public_line + "\n")
    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\necho pw\n")
    askpass.chmod(0o700)
    asked = dict(env, SSH_ASKPASS=str(askpass), SSH_ASKPASS_REQUIRE="force", DISPLAY=":9")
    for command in (
        ["ssh-add", "-D"],
        ["ssh-add", "-d", str(tmp_path / "known.pub")],
        ["ssh-add", str(tmp_path / "new")],
        ["ssh-add", "-c", str(tmp_path / "new")],
        ["ssh-add", "-t", "60", str(tmp_path / "new")],
        ["ssh-add", "-x"],
        ["ssh-add", "-X"],
    ):
        assert run(*command, env=asked, check=False).returncode != 0, command
    listed = run("ssh-add", "-l", env=env).stdout
    assert len(listed.splitlines()) == len(keys)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_ssh_keygen_signs_and_verifies(keys, agent, tmp_path, index):
    key = keys[index]
    (tmp_path / "key.pub").write_text(key.public_line + "\n")
    (tmp_path / "allowed").write_text(f"me@test {key.public_line}\n")
    text = tmp_path / "text"
    text.write_bytes(os.urandom(5000))
    run("ssh-keygen", "-Y", "sign", "-f", tmp_path / "key.pub", "-n", "file", text, env=using(agent))
    verify = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "allowed", "-I", "me@test", "-n", "file"]
    verify += ["-s", tmp_path / "text.sig"]
    run(*verify, input=text.read_bytes(), text=False)
    assert run(*verify, input=b"another text", text=False, check=False).returncode != 0


@pytest.mark.usefixtures("sshd_installed")
@pytest.mark.parametrize(
    ("index", "algorithm"),
    [(0, "ssh-ed25519"), (1, "rsa-sha2-256"), (1, "rsa-sha2-512"), (2, "ecdsa-sha2-nistp256")],
    ids=str,
)
def test_ssh_logs_in_with_the_hash_that_was_agreed(keys, socket_agent, tmp_path, index, algorithm):
    with Sshd(tmp_path / "sshd", [keys[index]]) as sshd:
        ssh = sshd.command(f"PubkeyAcceptedAlgorithms={algorithm}")
        target = [f"{sshd.user}@{sshd.address}", "-p", str(sshd.port), "echo", "logged in"]
        assert run(*ssh, *target, env=using(socket_agent)).stdout == "logged in\n"
        assert f"{keys[index].fingerprint}" in sshd.log
        assert run(*ssh, *target, env=dict(os.environ, SSH_AUTH_SOCK="/nonexistent"), check=False).returncode == 255


@pytest.mark.usefixtures("sshd_installed")
def test_git_pushes_over_ssh_without_a_key_file(keys, agent, tmp_path):
    origin, work = tmp_path / "origin.git", tmp_path / "work"
    run("git", "init", "-q", "--bare", "-b", "main", origin)
    run("git", "init", "-q", "-b", "main", work)
    (work / "file").write_text("content\n")
    run("git", "-C", work, "add", ".")
    run("git", "-C", work, "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "-q", "-m", "one")
    with Sshd(tmp_path / "sshd", keys[:1]) as sshd:
        env = using(agent) | {"GIT_SSH_COMMAND": " ".join(sshd.command())}
        run("git", "-C", work, "push", "-q", sshd.url(origin), "main", env=env)
        head = run("git", "-C", work, "rev-parse", "HEAD").stdout
        assert run("git", "-C", origin, "rev-parse", "main").stdout == head
        refused = run(
            "git", "-C", work, "push", sshd.url(origin), "main:x", env=env | {"SSH_AUTH_SOCK": ""}, check=False
        )
        assert refused.returncode != 0 and "Permission denied" in refused.stderr
