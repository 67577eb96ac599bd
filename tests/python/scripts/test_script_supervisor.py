"""init-ssh-and-repo.sh and the supervisor: no agent starts in a container whose supervisor is not there."""

from __future__ import annotations

import pytest

MOUNT = "mount --bind /run/terok /run/terok; "
LISTEN = "socat UNIX-LISTEN:/run/terok/vault.sock,fork - </dev/null >/dev/null 2>&1 & "


def init(box, before: str, **env: str):
    return box.bash(f"{before} init-ssh-and-repo.sh", uid=0, timeout=120, **env)


@pytest.mark.parametrize(
    "before",
    [MOUNT, MOUNT + f"{LISTEN} until test -S /run/terok/vault.sock; do sleep 0.05; done; kill -9 $!; "],
    ids=["no socket", "a socket nobody listens on"],
)
def test_no_supervisor_ends_with_one_named_cause(box, before: str) -> None:
    done = init(box, before, TEROK_SUPERVISOR_WAIT_S="0")
    assert done.status == 69 and ">> init complete" not in done.out
    complaints = [line for line in done.err.splitlines() if line.startswith("!!")]
    assert len(complaints) == 1 and "no supervisor answers on /run/terok/vault.sock" in complaints[0]


def test_supervisor_that_is_a_little_late(box) -> None:
    done = init(box, MOUNT + f"(sleep 0.5; exec {LISTEN.rstrip('& ')}) & ")
    assert done.status == 0 and ">> init complete" in done.out, done.err


@pytest.mark.parametrize(("before", "env"), [("", {}), (MOUNT, {"TEROK_TOKEN_BROKER_PORT": "18731"})])
def test_containers_without_a_mounted_socket_folder_are_let_through(box, before: str, env: dict[str, str]) -> None:
    done = init(box, before, TEROK_SUPERVISOR_WAIT_S="0", **env)
    assert done.status == 0 and ">> init complete" in done.out, done.err
