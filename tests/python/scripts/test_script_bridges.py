"""Relays between the container and its supervisor, with real socat and real sockets."""

from __future__ import annotations

import pytest

VAULT = {"TEROK_VAULT_LOOPBACK_PORT": "9419"}
TCP_VAULT = {"TEROK_TOKEN_BROKER_PORT": "18731"}
SIGNER = {"TEROK_SSH_SIGNER_TOKEN": "terok-p-" + "0" * 32, "TEROK_SSH_SIGNER_SOCKET": "/run/terok/ssh-agent.sock"}
GATE = {"TEROK_GATE_SOCKET": "/run/terok/gate-server.sock"}

# An echo that shouts, on a Unix socket or a TCP port.
SERVER = "socat {listen},fork SYSTEM:'tr a-z A-Z' 2>/dev/null &"
COUNT = "pgrep -c '^socat$'"
ASK = "printf hello | timeout 40 socat -t 5 - {where}"


def serve(listen: str) -> str:
    return SERVER.format(listen=listen)


def ask(where: str) -> str:
    return ASK.format(where=where)


def test_vault_in_socket_mode(box):
    script = f"{serve('UNIX-LISTEN:/run/terok/vault.sock')} source ensure-bridges.sh; {ask('TCP:127.0.0.1:9419')}"
    result = box.bash(script, **VAULT)
    assert (result.out, result.err) == ("HELLO", "")


# improves: 21-8-bridge-waits
def test_vault_that_comes_late(box):
    late = f"(sleep 2; exec {serve('UNIX-LISTEN:/run/terok/vault.sock').rstrip(' &')}) & "
    script = f"source ensure-bridges.sh; {late} SECONDS=0; {ask('TCP:127.0.0.1:9419')}; echo \" $SECONDS\""
    result = box.bash(script, **VAULT)
    assert result.out.startswith("HELLO"), result.err
    assert 1 <= int(result.out.split()[1]) <= 20


def test_vault_whose_socket_is_replaced(box):
    """A supervisor that was started again binds a new socket of the same name."""
    start = serve("UNIX-LISTEN:/run/terok/vault.sock,unlink-early")
    script = f"""
        source ensure-bridges.sh
        {start} server=$!
        {ask("TCP:127.0.0.1:9419")}; kill $server; wait $server; rm -f /run/terok/vault.sock
        (sleep 1; exec {start.rstrip(" &")}) & {ask("TCP:127.0.0.1:9419")}
    """
    assert box.bash(script, **VAULT).out == "HELLOHELLO"


def test_clients_may_close_their_side_long_before_the_answer(box):
    server = "socat -t 20 UNIX-LISTEN:/run/terok/vault.sock,fork SYSTEM:'cat; sleep 3; echo done' 2>/dev/null &"
    client = "printf hi | socat -t 20 - TCP:127.0.0.1:9419"
    assert box.bash(f"{server} source ensure-bridges.sh; {client}", **VAULT).out == "hidone\n"


def test_vault_in_tcp_mode_ignores_the_mounted_socket(box):
    script = f"""
        {serve("UNIX-LISTEN:/run/terok/vault.sock")} {serve("TCP-LISTEN:18731,bind=127.0.0.1")} rm -f /run/terok/vault.sock
        touch /run/terok/vault.sock
        source ensure-bridges.sh
        {ask("TCP:127.0.0.1:9419")}; {ask("UNIX-CONNECT:/tmp/terok-vault.sock")}; ls /tmp/.terok/*.pid
    """
    result = box.bash(script, **TCP_VAULT)
    assert result.out == "HELLOHELLO/tmp/.terok/vault-loopback.pid\n/tmp/.terok/vault-socket.pid\n"


# improves: 21-8-gate-loopback
@pytest.mark.parametrize("env", [GATE, {"TEROK_GATE_PORT": "18733"}], ids=["socket", "tcp"])
def test_gate_listens_on_the_loopback_only(box, env):
    where = "UNIX-LISTEN:/run/terok/gate-server.sock" if env is GATE else "TCP-LISTEN:18733,bind=127.0.0.1"
    script = f"{serve(where)} source ensure-bridges.sh; {ask('TCP:127.0.0.1:9418')}; cat /proc/net/tcp"
    result = box.bash(script, **env)
    assert result.out.startswith("HELLO")
    assert f"0100007F:{9418:04X}" in result.out and f"00000000:{9418:04X}" not in result.out


def test_sourcing_again_starts_nothing_and_a_dead_relay_comes_back(box):
    script = f"""
        source ensure-bridges.sh; {COUNT}; source ensure-bridges.sh; {COUNT}
        relay=$(</tmp/.terok/gate.pid); kill $relay; while kill -0 $relay 2>/dev/null; do sleep 0.05; done
        {COUNT}; source ensure-bridges.sh; {COUNT}
    """
    result = box.bash(script, **VAULT, **GATE, **SIGNER)
    assert (result.out.split(), result.err) == (["3", "3", "2", "3"], "")


def test_many_shells_at_once_start_one_of_each(box):
    script = f"for i in $(seq 20); do bash -c 'source ensure-bridges.sh' & done; wait; {COUNT}"
    result = box.bash(script, **VAULT, **GATE, **SIGNER)
    assert (result.out, result.err) == ("3\n", "")


def test_files_of_an_earlier_boot_prove_nothing(box):
    """After a restart of the container the pid may belong to anybody."""
    script = f"""
        mkdir -m 700 /tmp/.terok; sleep 300 & echo $! >/tmp/.terok/vault-loopback.pid; touch /tmp/ssh-agent.sock
        echo 99999 >/tmp/.terok/ssh-agent.pid
        source ensure-bridges.sh; {COUNT}; [ -S /tmp/ssh-agent.sock ] && kill -0 %1 && echo untouched
    """
    result = box.bash(script, **VAULT, **SIGNER)
    assert result.out.split() == ["2", "untouched"], result.err


def test_removed_agent_socket_is_made_again(box):
    script = f"source ensure-bridges.sh; rm /tmp/ssh-agent.sock; source ensure-bridges.sh; ls /tmp/*.sock; {COUNT}"
    assert box.bash(script, **SIGNER).out.split() == ["/tmp/ssh-agent.sock", "1"]


def test_the_folder_of_somebody_else_is_left_alone(box):
    (box.base / "srv/elsewhere").mkdir()
    script = f"ln -s /srv/elsewhere /tmp/.terok; source ensure-bridges.sh; {COUNT}; ls -A /srv/elsewhere"
    result = box.bash(script, **VAULT)
    assert (result.status, result.out) == (0, "0\n")


def test_pid_folder_is_private(box):
    script = "umask 000; source ensure-bridges.sh; stat -c %a /tmp/.terok /tmp/.terok/vault-loopback.pid /tmp/ssh-agent.sock"
    assert box.bash(script, **VAULT, **SIGNER).out.split() == ["700", "600", "600"]


def test_a_taken_port_is_told_once(box):
    script = """
        socat TCP-LISTEN:9419,bind=127.0.0.1 - & until grep -q '0100007F:24CB .* 0A ' /proc/net/tcp; do sleep 0.05; done
        for i in 1 2 3; do source ensure-bridges.sh; done
    """
    result = box.bash(script, **VAULT)
    assert result.status == 0 and result.err.count("relay `vault-loopback` did not start") == 1
    assert "in use" in result.err


@pytest.mark.parametrize("env", [{"TEROK_GATE_PORT": "1,fork"}, {"TEROK_GATE_SOCKET": "/run/x,exec=y"}])
def test_addresses_cannot_carry_options(box, env):
    result = box.bash(f"source ensure-bridges.sh; {COUNT}", **env)
    assert result.out == "0\n" and "relay `gate`" in result.err


def test_strict_shells_and_no_environment(box):
    result = box.run("bash", "-euo", "pipefail", "-c", "source ensure-bridges.sh; echo $-; ls -A /tmp")
    assert (result.status, result.err) == (0, "") and result.out.count("\n") == 1


# improves: 21-8-agent-variable
def test_every_shell_with_a_live_relay_learns_the_agent(box):
    script = "source ensure-bridges.sh; unset SSH_AUTH_SOCK; source ensure-bridges.sh; echo $SSH_AUTH_SOCK"
    assert box.bash(script, **SIGNER).out == "/tmp/ssh-agent.sock\n"


def test_shell_environment_starts_them_for_users_and_not_for_root(box):
    env = {"BASH_ENV": "/etc/profile.d/terok-env.sh", **VAULT, **SIGNER}
    script = f"echo $SSH_AUTH_SOCK; {COUNT}"
    assert box.bash(script, **env).out.split() == ["/tmp/ssh-agent.sock", "2"]
    (box.base / "tmp/ssh-agent.sock").unlink()
    assert box.bash(script, uid=0, **env).out == "\n0\n"


def test_init_script_starts_them(box):
    script = f"{serve('UNIX-LISTEN:/run/terok/vault.sock')} init-ssh-and-repo.sh >&2; {ask('TCP:127.0.0.1:9419')}"
    assert box.bash(script, **VAULT).out == "HELLO"


def test_agent_handshake(box):
    server = "socat -u UNIX-LISTEN:/run/terok/ssh-agent.sock OPEN:/srv/heard,creat & server=$!"
    script = f"{server}; source ensure-bridges.sh; printf CLIENT | socat - UNIX-CONNECT:$SSH_AUTH_SOCK; wait $server"
    assert box.bash(script, **SIGNER).status == 0
    token = SIGNER["TEROK_SSH_SIGNER_TOKEN"].encode()
    assert (box.base / "srv/heard").read_bytes() == b"\0\0\0\x28" + token + b"CLIENT"


def test_agent_token_is_in_no_argument(box):
    script = f"""
        {serve("UNIX-LISTEN:/run/terok/ssh-agent.sock")} source ensure-bridges.sh
        sleep 60 | socat - UNIX-CONNECT:$SSH_AUTH_SOCK >/dev/null &
        until grep -qs ssh-agent-bridge.sh /proc/[0-9]*/cmdline; do sleep 0.05; done; cat /proc/[0-9]*/cmdline | tr '\\0' ' '
    """
    out = box.bash(script, **SIGNER).out
    assert "ssh-agent-bridge.sh" in out and SIGNER["TEROK_SSH_SIGNER_TOKEN"] not in out


def test_agent_client_hears_that_the_signer_hung_up(box):
    server = "socat UNIX-LISTEN:/run/terok/ssh-agent.sock,fork SYSTEM:'head -c 44 >/dev/null; echo bye' &"
    script = f"""
        {server} source ensure-bridges.sh
        client() {{ timeout 30 socat -t 0.2 - UNIX-CONNECT:$SSH_AUTH_SOCK < <(sleep 60); echo "ended $?"; }}
        for _ in $(seq 16); do client & clients+=($!); done; wait "${{clients[@]}}"; sleep 0.5; pgrep -c '^cat$'
    """
    # Many at once, because one alone hung in one case of thirty.
    said = box.bash(script, **SIGNER).out.splitlines()
    assert sorted(said) == sorted(["bye", "ended 0"] * 16 + ["0"])


def test_real_ssh_agent_behind_the_relay(box):
    """The signer here is OpenSSH's agent behind a peer that takes the token off."""
    script = """
        ssh-agent -a /tmp/real.sock >/dev/null; ssh-keygen -qt ed25519 -N '' -f /tmp/key -C from-the-vault
        SSH_AUTH_SOCK=/tmp/real.sock ssh-add -q /tmp/key
        printf '%s\\n' '#!/bin/sh' 'dd bs=1 count=44 of=/dev/null 2>/dev/null; exec socat - UNIX-CONNECT:/tmp/real.sock' >/tmp/peer
        chmod 755 /tmp/peer; socat UNIX-LISTEN:/run/terok/ssh-agent.sock,fork EXEC:/tmp/peer &
        source ensure-bridges.sh; ssh-add -l; ssh-add -l
    """
    assert box.bash(script, **SIGNER).out.count("from-the-vault") == 2


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({}, 1),
        ({"TEROK_SSH_SIGNER_TOKEN": "t"}, 2),
        ({"TEROK_SSH_SIGNER_TOKEN": "t", "TEROK_SSH_SIGNER_PORT": "x1"}, 2),
        ({"TEROK_SSH_SIGNER_TOKEN": "t" * 1025, "TEROK_SSH_SIGNER_PORT": "1"}, 1),
    ],
)
def test_agent_relay_without_a_way_to_go(box, env, status):
    result = box.run("ssh-agent-bridge.sh", **env)
    assert (result.status, result.out) == (status, "") and "ssh-agent-bridge: " in result.err
