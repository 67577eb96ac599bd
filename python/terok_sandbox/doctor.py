"""Health checks as values: what to probe and how to judge the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "CheckVerdict",
    "DoctorCheck",
    "make_recovery_acknowledged_check",
    "podman_advisories_check",
    "run_check",
    "sandbox_doctor_checks",
    "site_settings_check",
    "supervisor_hooks_check",
]

_PROBE_LIMIT = 5.0
_HOST = "host.containers.internal"


@dataclass(frozen=True)
class CheckVerdict:
    """The outcome of one check; ``severity`` is ``ok``, ``warn`` or ``error``."""

    severity: str
    detail: str
    fixable: bool = False


@dataclass(frozen=True)
class DoctorCheck:
    """One check.

    ``probe_cmd`` runs in the container (or on the host when there is none) and ``evaluate`` judges its exit status,
    standard output and standard error. With ``host_side`` nothing is run: ``evaluate`` gets 0, a state text and ``""``.
    """

    category: str
    label: str
    probe_cmd: list[str]
    evaluate: Callable[[int, str, str], CheckVerdict]
    fix_cmd: list[str] | None = None
    fix_description: str = ""
    host_side: bool = False


def sandbox_doctor_checks(
    *, token_broker_port: int | None = None, ssh_signer_port: int | None = None, desired_shield_state: str | None = None
) -> list[DoctorCheck]:
    """Returns the checks of this layer in the order vault, network, shield.

    The ports are given in TCP mode only. The shield check gets the state that was found as its text.
    """
    checks = [
        DoctorCheck("vault", "Credentials DB passphrase", [], _judge_passphrase, host_side=True),
        DoctorCheck("vault", "Plaintext passphrase", [], _judge_plaintext, host_side=True),
    ]
    if token_broker_port is not None:
        probe = ["wget", "-q", "--spider", "--timeout=3", f"http://{_HOST}:{int(token_broker_port)}/-/health"]
        checks.append(DoctorCheck("network", "Token broker (TCP)", probe, _judge_reachable))
    if ssh_signer_port is not None:
        probe = ["bash", "-c", f"echo | nc -w2 {_HOST} {int(ssh_signer_port)}"]
        checks.append(DoctorCheck("network", "SSH signer (TCP)", probe, _judge_reachable))
    judge = functools.partial(_judge_shield, desired_shield_state)
    checks.append(DoctorCheck("shield", "Shield state", [], judge, fix_cmd=[], host_side=True))
    return checks


def supervisor_hooks_check() -> DoctorCheck:
    """Returns the check that podman will start supervisors; one per host, so no part of the list above."""
    return DoctorCheck("hooks", "Supervisor hooks", [], _judge_hooks, host_side=True)


def site_settings_check() -> DoctorCheck:
    """Returns the check which of podman's settings on this host reach containers; one per host, as the one above."""
    return DoctorCheck("podman", "Podman's settings", [], _judge_site, host_side=True)


def podman_advisories_check() -> DoctorCheck:
    """Returns the check for known holes of the installed podman; one per host, as the one above."""
    return DoctorCheck("podman", "Podman's known holes", [], _judge_advisories, host_side=True)


def run_check(check: DoctorCheck) -> CheckVerdict:
    """Runs one check on this host: its probe with a limit of 5 s, then its judgement."""
    import subprocess

    if check.host_side or not check.probe_cmd:
        return check.evaluate(0, "", "")
    try:
        done = subprocess.run(check.probe_cmd, capture_output=True, text=True, errors="replace", timeout=_PROBE_LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return check.evaluate(1, "", f"`{check.probe_cmd[0]}` is unavailable or timed out")
    return check.evaluate(done.returncode, done.stdout, done.stderr)


def make_recovery_acknowledged_check() -> DoctorCheck:
    """Returns the check that a copy of the passphrase is kept off this host; one per host, so no part of the list."""
    return DoctorCheck("vault", "Recovery key acknowledged", [], _judge_recovery, host_side=True)


def _judge_recovery(_status: int, _out: str, _err: str) -> CheckVerdict:
    from .vault.store.recovery import RecoveryStatus

    found = RecoveryStatus.load()
    if found.acknowledged:
        return CheckVerdict("ok", "a copy is kept off this host")
    advice = "keep a copy: `terok-sandbox vault passphrase reveal`"
    if found.urgent:
        return CheckVerdict("error", f"only this login session has the passphrase; {advice}")
    return CheckVerdict("warn", f"not acknowledged; {advice}")


def _judge_passphrase(_status: int, _out: str, _err: str) -> CheckVerdict:
    """Resolves the passphrase and, where there is a vault, opens it: a stale tier is an error, too."""
    from .config import SandboxConfig
    from .vault.store import change
    from .vault.store.db import open_with
    from .vault.store.encryption import VaultBusyError

    cfg = SandboxConfig()
    try:
        passphrase, source = cfg.resolve_passphrase_with_source()
        if passphrase is None:
            return CheckVerdict("error", "no tier has it; run `terok-sandbox vault unlock`", fixable=True)
        if cfg.db_path.exists():
            open_with(cfg.db_path, passphrase).close()
    except VaultBusyError as error:
        return CheckVerdict("warn", _first_line(error))
    except (RuntimeError, OSError) as error:
        return CheckVerdict("error", _first_line(error))
    if change.is_interrupted(cfg.db_path):
        return CheckVerdict(
            "warn", "a change was interrupted; run `terok-sandbox vault passphrase change`", fixable=True
        )
    return CheckVerdict("ok", f"from {source}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _judge_plaintext(_status: int, _out: str, _err: str) -> CheckVerdict:
    from .paths import plaintext_passphrase_config_path

    path = plaintext_passphrase_config_path()
    if path is None:
        return CheckVerdict("ok", "no configuration file holds it")
    return CheckVerdict("warn", f"`{path}` holds the vault passphrase in plain text")


def _judge_reachable(status: int, _out: str, err: str) -> CheckVerdict:
    if status == 0:
        return CheckVerdict("ok", "reachable")
    return CheckVerdict("error", f"not reachable (status {status}){': ' + err.strip() if err.strip() else ''}")


def _judge_shield(desired: str | None, _status: int, out: str, _err: str) -> CheckVerdict:
    if desired is None:
        return CheckVerdict("ok", "not managed")
    found = out.strip()
    if found == desired:
        return CheckVerdict("ok", found)
    return CheckVerdict("warn", f"`{found}` instead of `{desired}`", fixable=True)


def _judge_hooks(_status: int, _out: str, _err: str) -> CheckVerdict:
    from .supervisor.install import check_supervisor_hooks

    problem = check_supervisor_hooks()
    return (
        CheckVerdict("ok", "podman will run them") if problem is None else CheckVerdict("error", problem, fixable=True)
    )


#: What becomes of a setting, the worst first.
_EFFECTS = (
    ("weakens", "weakens every container"),
    ("weakens_restart", "weakens a container that podman itself starts again"),
    ("takes_part", "used by launches"),
    ("ignored", "not used by launches"),
)


def _judge_advisories(_status: int, _out: str, _err: str) -> CheckVerdict:
    from .prerequisites import check_advisories

    severity, text = check_advisories()
    return CheckVerdict(severity, text.replace("\n", "\n    "))


def _judge_site(_status: int, _out: str, _err: str) -> CheckVerdict:
    from terok_util import sanitize_tty

    from .config import SandboxConfig
    from .launch import _native, _place

    try:
        settings = _native().sandbox_launcher(_place(SandboxConfig()))["settings"]
    except (OSError, RuntimeError, ValueError, SystemExit) as error:
        return CheckVerdict("error", str(error).splitlines()[0])
    parts = []
    for effect, words in _EFFECTS:
        named = [f"{one['key']} ({sanitize_tty(one['file'])})" for one in settings if one["effect"] == effect]
        if named:
            parts.append(f"{words}: {', '.join(named)}")
    weak = any(one["effect"].startswith("weakens") for one in settings)
    return CheckVerdict("warn" if weak else "ok", "; ".join(parts) or "none of this host's reach containers")
