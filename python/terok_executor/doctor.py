"""Health checks of an agent's container: bridges, credential files, tokens, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from terok_sandbox.doctor import CheckVerdict, DoctorCheck
from terok_util.shell import command_line

from terok_executor import vault_addr

if TYPE_CHECKING:
    from terok_executor.roster import AgentRoster

#: How real keys of the services begin.
REAL_KEY_PREFIXES = ("sk-ant-", "sk-", "gho_", "ghp_", "ghs_", "ghu_", "github_pat_", "glpat-")
_PHANTOM = re.compile(r"terok-p-[0-9a-fA-F]{32}")
#: Where the bridges keep their process ids, in the container.
_PIDS = "/tmp/.terok"  # noqa: S108
_BRIDGE_FIX = ["bash", "-lc", "source ensure-bridges.sh"]

Evaluate = Callable[[int, str, str], CheckVerdict]


def container_checks(roster: AgentRoster, *, token_broker_port: int | None = None) -> list[DoctorCheck]:
    """Return the checks in the order bridges, credential files, tokens, addresses; the port is given in TCP mode."""
    return [*_bridges(token_broker_port), *_credential_files(roster), *_tokens(roster), *_addresses(roster)]


def _alive(pid_file: str) -> str:
    return f'kill -0 "$({command_line("cat", pid_file)} 2>/dev/null)" 2>/dev/null'


def _bridges(token_broker_port: int | None) -> list[DoctorCheck]:
    socket = vault_addr.container_vault_socket(token_broker_port)
    pid = f"{_PIDS}/vault-loopback.pid" if token_broker_port is None else f"{_PIDS}/vault-socket.pid"
    ssh = f"{_alive(f'{_PIDS}/ssh-agent.pid')} && test -S /tmp/ssh-agent.sock"
    vault = f"test -S {socket} && {_alive(pid)}"
    return [_bridge("SSH agent bridge (socat)", ssh), _bridge("Vault bridge (socat)", vault)]


def _bridge(label: str, script: str) -> DoctorCheck:
    def judge(status: int, _out: str, _err: str) -> CheckVerdict:
        return CheckVerdict("ok", "running") if status == 0 else CheckVerdict("error", "not running", fixable=True)

    return DoctorCheck("bridge", label, ["bash", "-c", script], judge, _BRIDGE_FIX, "start the bridges")


def _credential_files(roster: AgentRoster) -> list[DoctorCheck]:
    checks = []
    for name, route in roster.vault_routes.items():
        auth = roster.auth_providers.get(name)
        if route.credential_file and auth is not None:
            path = f"{auth.container_mount}/{route.credential_file}"
            checks.append(
                DoctorCheck(
                    "mount", f"Credential file ({name})", ["cat", path], _judge_file, ["rm", "-f", path],
                    f"remove {path}; where it is mounted read-only, run `terok-executor vault clean` on the host",
                )
            )  # fmt: skip
    return checks


def _judge_file(status: int, out: str, err: str) -> CheckVerdict:
    if status != 0:
        absent = "no such file" in err.lower()
        return CheckVerdict("ok", "absent") if absent else CheckVerdict("warn", f"cannot be read: {err.strip()}")
    if any(re.search(rf"(?<![A-Za-z0-9_-]){re.escape(prefix)}", out) for prefix in REAL_KEY_PREFIXES):
        return CheckVerdict("error", "holds a real key", fixable=True)
    return CheckVerdict("ok", "empty" if not out.strip() else "no real key")


def _tokens(roster: AgentRoster) -> list[DoctorCheck]:
    names: dict[str, None] = {}
    for route in roster.vault_routes.values():
        names |= dict.fromkeys([*route.phantom_env, *route.oauth_phantom_env])
    return [DoctorCheck("env", f"Phantom token ({name})", ["printenv", name], _judge_token) for name in names]


def _judge_token(_status: int, out: str, _err: str) -> CheckVerdict:
    value = out.strip()
    if not value:
        return CheckVerdict("warn", "not set; nobody is authenticated for it")
    if _PHANTOM.fullmatch(value):
        return CheckVerdict("ok", "a phantom token")
    if value.startswith(REAL_KEY_PREFIXES):
        return CheckVerdict("error", "a real key is in the container")
    return CheckVerdict("warn", "neither a phantom token nor a known kind of key")


def _addresses(roster: AgentRoster) -> list[DoctorCheck]:
    names = dict.fromkeys(route.base_url_env for route in roster.vault_routes.values() if route.base_url_env)
    return [DoctorCheck("env", f"Base URL ({name})", ["printenv", name], _judge_address) for name in names]


def _judge_address(_status: int, out: str, _err: str) -> CheckVerdict:
    value = out.strip()
    if not value:
        return CheckVerdict("warn", "not set; nobody is authenticated for it")
    endpoint = value.split("://", 1)[-1].split("/", 1)[0]
    expected = f"localhost:{vault_addr.VAULT_LOOPBACK_PORT}"
    if endpoint == expected:
        return CheckVerdict("ok", "the credential broker")
    return CheckVerdict("error", f"leads to {endpoint}, not to the credential broker at {expected}")
