"""Wiring for containers that somebody runs with podman directly: the options to add, and what they need on the host.

:func:`compose` makes directory, sidecar and record of one container and returns the options; :func:`exec_podman` turns
into podman with them. A failure at any step takes back what was made.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import SandboxConfig
    from .launch import PerContainerResources

BRIDGES_DIR = "/usr/local/share/terok-sandbox/bridges"
"""Where a container finds the scripts that carry its requests to the services."""
_LOOPBACK_PORT = 9419
_SCRIPTS = ("ensure-bridges.sh", "ssh-agent-bridge.sh")
_GATE_SOCKET = "/run/terok/gate-server.sock"
_SIGNER_SOCKET = "/run/terok/ssh-agent.sock"
_TOKENS = frozenset({"TEROK_GATE_TOKEN", "TEROK_SSH_SIGNER_TOKEN"})


@dataclass(frozen=True)
class WiringPlan:
    """Which services a container was wired to, and for which scope."""

    scope: str | None
    shield: bool
    gate: bool
    broker: bool
    ssh: bool


def compose(
    container: str, *, cfg: SandboxConfig, shield: bool, gate: bool, broker: bool, scope: str | None,
    profiles: tuple[str, ...] | None = None,
) -> tuple[list[str], WiringPlan]:  # fmt: skip
    """Makes what a container of that name needs and returns ``podman run`` options, with what they stand for.

    A scope brings the SSH signer along; the gate (which serves the mirror of that name) and the broker need one and are
    left out with a note on stderr otherwise. Raises ``SystemExit`` for an unsafe or used name, hooks that podman would
    not run, or a failed write, and ``NoPassphraseError`` when the vault does not open. Nothing is left then.
    """
    from . import launch

    plan = _plan(scope, shield, gate, broker)
    if profiles:
        cfg = replace(cfg, shield_profiles=tuple(profiles))
    try:
        launch._native().sandbox_check_name(container)
        launch._native().sandbox_check_hooks(launch._place(cfg), container)
    except (ValueError, RuntimeError) as error:
        raise SystemExit(str(error)) from error
    with launch.guarded(container, cfg=cfg):
        made = launch.allocate_per_container_resources(cfg, container)
        tokens = _Tokens(_gate_token(plan), _ssh_token(container, cfg, plan))
        args = _args(cfg, plan, made, tokens)
        _write_record(container, cfg, plan)
        sidecar = _write_sidecar(container, cfg, plan, made, tokens)
        if sidecar is None:
            raise SystemExit(f"cannot wire `{container}`: sidecar write failed")
    return [*args, "--name", container, "--annotation", f"terok.sandbox.sidecar={sidecar}"], plan


@dataclass(frozen=True)
class _Tokens:
    """Secrets of one container; empty where it has none."""

    gate: str
    ssh: str


def _plan(scope: str | None, shield: bool, gate: bool, broker: bool) -> WiringPlan:
    if scope is None:
        for wanted, what in ((gate, "git gate"), (broker, "token broker")):
            if wanted:
                print(
                    f"note: the {what} needs a credential scope and is left out; name one with --scope", file=sys.stderr
                )
        return WiringPlan(None, shield, False, False, False)
    return WiringPlan(scope, shield, gate, broker, True)


def _gate_token(plan: WiringPlan) -> str:
    from .gate import tokens

    return tokens.mint_gate_token() if plan.gate else ""


def _ssh_token(container: str, cfg: SandboxConfig, plan: WiringPlan) -> str:
    """A fresh token for the signer, in place of those of an earlier container of this name."""
    from . import launch

    if not (plan.ssh and plan.scope):
        return ""
    db = cfg.open_credential_db()
    try:
        launch.note_token(container, plan.scope, container, cfg=cfg)
        with db.transaction():
            db.revoke_tokens(plan.scope, container)
            return str(db.create_token(plan.scope, container, plan.scope, "ssh"))
    finally:
        db.close()


def _write_sidecar(
    container: str, cfg: SandboxConfig, plan: WiringPlan, made: PerContainerResources, tokens: _Tokens
) -> Path | None:
    from . import launch

    scope = plan.scope or ""
    gate: dict[str, Any] = {}
    if tokens.gate:
        gate = {
            "project_id": scope,
            "gate_base_path": Path(cfg.gate_base_path),
            "gate_token": tokens.gate,
            "gate_port": made.gate_port,
            "gate_scope": scope,
        }
    return launch.write_sidecar(
        container, cfg=cfg, per_container=made, scope_id=scope, token_scope=scope,
        token_subject=container if scope else "", **gate,
    )  # fmt: skip


def _args(cfg: SandboxConfig, plan: WiringPlan, made: PerContainerResources, tokens: _Tokens) -> list[str]:
    """Network, user namespace, what every launch says, scripts, sockets and variables, in this order."""
    from . import launch, shield

    tcp = cfg.services_mode == "tcp"
    served = plan.gate or plan.broker or plan.ssh
    if plan.shield:
        args = shield.pre_start_args(cfg)
    else:
        args = launch._native().sandbox_network_args(launch._place(cfg), bool(cfg.shield_bypass))
    users, reowned = launch._native().sandbox_user_args(launch._place(cfg))
    args += users
    args += launch._native().sandbox_explicit_args()
    args += launch._native().sandbox_seccomp_args(launch._place(cfg))
    if not served:
        return args
    args += ["-v", f"{_bridges(cfg)}:{BRIDGES_DIR}:z,ro"]
    if not tcp:
        args += ["-v", f"{made.container_runtime_dir}:/run/terok:z{',U' if reowned else ''}"]
    for variable in _variables(plan, made, tokens, tcp):
        args += ["-e", variable]
    return args


def _variables(plan: WiringPlan, made: PerContainerResources, tokens: _Tokens, tcp: bool) -> Iterator[str]:
    """The services' variables as ``NAME=value``: broker, gate, signer."""
    if plan.broker:
        if tcp:
            yield f"TEROK_TOKEN_BROKER_PORT={made.token_broker_port}"
        # In both modes: without it the container's loopback has no broker in TCP mode.
        yield f"TEROK_VAULT_LOOPBACK_PORT={_LOOPBACK_PORT}"
    if plan.gate:
        yield f"TEROK_GATE_PORT={made.gate_port}" if tcp else f"TEROK_GATE_SOCKET={_GATE_SOCKET}"
        yield f"TEROK_GATE_TOKEN={tokens.gate}"
    if plan.ssh:
        yield f"TEROK_SSH_SIGNER_TOKEN={tokens.ssh}"
        yield f"TEROK_SSH_SIGNER_PORT={made.ssh_signer_port}" if tcp else f"TEROK_SSH_SIGNER_SOCKET={_SIGNER_SOCKET}"


def _bridges(cfg: SandboxConfig) -> Path:
    """Copies of the scripts in the state directory: a mount may change labels, which the package must not suffer."""
    source = Path(__file__).parent / "resources" / "bridges"
    target = Path(cfg.state_dir) / "bridges"
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)
    for name in _SCRIPTS:
        wanted, path = (source / name).read_bytes(), target / name
        if path.is_symlink() or not path.is_file() or path.read_bytes() != wanted:
            _write(path, wanted, 0o755)
    return target


def _write_record(container: str, cfg: SandboxConfig, plan: WiringPlan) -> None:
    folder = Path(cfg.state_dir) / "sandbox" / "runs" / container
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    _write(folder / "meta.json", json.dumps(asdict(plan), indent=2).encode(), 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Puts a whole file in place of whatever is there; a link is replaced, not followed."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def check_podman_args(podman_args: list[str]) -> None:
    """Refuses options in front of the image that would undo the wiring or the confinement.

    Host paths that containers must not see are refused as well. Raises ``SystemExit`` naming the option or path, or
    saying that there is no image.
    """
    from . import launch
    from .config import SandboxConfig

    if not podman_args:
        raise SystemExit("No image specified")
    try:
        launch._native().sandbox_check_run_line(launch._place(SandboxConfig()), list(podman_args))
    except ValueError as error:
        raise SystemExit(str(error)) from error


def exec_podman(sandbox_args: list[str], podman_args: list[str]) -> NoReturn:
    """Becomes ``podman run`` with both lists of words.

    The first line of defence against a container without its supervisor is the check in :func:`compose`; nobody is left
    to ask the supervisor once this process is podman. Tokens move from the words into podman's environment, because
    every user of the host can read a process's words. Raises ``SystemExit`` for refused options or a missing podman.
    """
    from . import launch
    from .config import SandboxConfig

    check_podman_args(podman_args)
    program = _podman()
    place = launch._place(SandboxConfig())
    told = launch._native().sandbox_launcher(place)
    for warning in told["warnings"]:
        print(f"Warning: {warning}", file=sys.stderr, flush=True)
    try:
        podman_args = launch._native().sandbox_pin_run_line(place, podman_args)
    except (ValueError, RuntimeError) as error:
        raise SystemExit(str(error)) from error
    os.environ["CONTAINERS_CONF"] = told["conf"]
    os.environ.pop("CONTAINERS_CONF_OVERRIDE", None)
    words = [*told["globals"], "run", *_without_tokens(sandbox_args), *podman_args]
    try:
        os.execv(program, ["podman", *words])  # noqa: S606 - no shell
    except OSError as error:
        raise SystemExit(f"cannot run `{program}`: {error.strerror}") from error


def _without_tokens(words: list[str]) -> list[str]:
    """The words with ``NAME`` in place of ``NAME=token``; the values are put into this process's environment."""
    out = []
    for word in words:
        name, separator, value = word.partition("=")
        if separator and name in _TOKENS:
            os.environ[name], word = value, name
        out.append(word)
    return out


def _podman() -> str:
    import shutil

    found = shutil.which("podman")
    program = Path(found).resolve() if found else None
    if program is None or not program.is_file() or not os.access(program, os.X_OK):
        raise SystemExit("cannot run podman: it is not installed or not on PATH\nhint: install the package `podman`")
    return str(program)


def format_args(args: list[str], *, output_json: bool) -> str:
    """Returns the words as a JSON array, or quoted for a shell on one line."""
    return json.dumps(args) if output_json else command_line(*args)
