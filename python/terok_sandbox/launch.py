"""What one container gets and leaves: resources, sidecar, launch journal, cleanup.

A launch is opened with :func:`begin` (or by :func:`allocate_per_container_resources`), told about what it makes with
:func:`note_temp_dir` and :func:`note_token`, and closed with :func:`finish` or taken back with :func:`abandon`. A
launch whose process died is taken back by the next :func:`recover`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._wiring import WiringPlan, check_podman_args, compose, exec_podman, format_args

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from .config import SandboxConfig

__all__ = [
    "PerContainerResources",
    "WiringPlan",
    "abandon",
    "allocate_per_container_resources",
    "begin",
    "check_caller",
    "check_podman_args",
    "cleanup",
    "compose",
    "exec_podman",
    "finish",
    "format_args",
    "guarded",
    "note_temp_dir",
    "note_token",
    "prove_supervised",
    "recover",
    "write_sidecar",
]

_open = threading.local()


@dataclass(frozen=True)
class PerContainerResources:
    """Directory (mounted at ``/run/terok``) and TCP ports of one container; the ports are ``None`` in socket mode."""

    container_runtime_dir: Path
    token_broker_port: int | None
    ssh_signer_port: int | None
    gate_port: int | None


def _native() -> Any:
    from terok_native import _lib

    return _lib


def _place(cfg: SandboxConfig) -> dict[str, object]:
    return {
        "state_dir": str(cfg.state_dir),
        "runtime_dir": str(cfg.runtime_dir),
        "tcp": cfg.services_mode == "tcp",
        "allow_root": cfg.allow_root,
    }


def _revoker(cfg: SandboxConfig) -> Callable[[str, str], None]:
    def revoke(scope: str, subject: str) -> None:
        from .vault.store.encryption import NoPassphraseError

        try:
            db = cfg.open_credential_db()
        except NoPassphraseError:
            if cfg.db_path.exists():
                raise
            return  # no vault, no token
        try:
            db.revoke_tokens(scope, subject)
        finally:
            db.close()

    return revoke


def _report(undone: dict[str, Any] | None) -> None:
    from terok_util import sanitize_tty

    if undone is None:
        return
    for leftover in undone["leftovers"]:
        print(f"Warning: left behind by `{undone['container']}`: {sanitize_tty(leftover)}", file=sys.stderr)


def check_caller(cfg: SandboxConfig) -> None:
    """Raises ``SystemExit`` with the next step when this process is root of the host and nothing allows that."""
    _native().sandbox_user_args({"state_dir": "", "runtime_dir": "", "allow_root": cfg.allow_root})


def begin(container: str, *, cfg: SandboxConfig) -> None:
    """Opens the journal of a launch before its first side effect; launches of dead processes are taken back first.

    Raises ``ValueError`` for an unsafe name and ``SystemExit`` when the name is in use or being launched.
    """
    recover(cfg=cfg)
    _native().sandbox_begin(_place(cfg), container)


def note_temp_dir(container: str, path: Path, *, cfg: SandboxConfig) -> bool:
    """Tells the open launch of a directory that it is about to make; false without an open launch."""
    return _native().sandbox_note(_place(cfg), container, {"kind": "temp_dir", "path": str(path)})


def note_token(container: str, scope: str, subject: str, *, cfg: SandboxConfig) -> bool:
    """Tells the open launch of a vault token that it is about to mint; false without an open launch."""
    return _native().sandbox_note(_place(cfg), container, {"kind": "token", "scope": scope, "subject": subject})


def finish(container: str, *, cfg: SandboxConfig) -> None:
    """Closes the journal of a complete launch; noted directories and tokens stay known for :func:`cleanup`."""
    _native().sandbox_finish(_place(cfg), container)


def abandon(container: str, *, cfg: SandboxConfig) -> None:
    """Takes this process's open launch back: container, sidecar, directories, tokens. Does nothing without one."""
    _report(_native().sandbox_abandon(_place(cfg), container, _revoker(cfg)))


def recover(*, cfg: SandboxConfig) -> list[str]:
    """Takes back every launch whose process is gone; their container names. One directory listing when there is none.

    Every ten minutes at most, also forgets containers that were removed in another way more than an hour ago.
    """
    undone = _native().sandbox_recover(_place(cfg), _revoker(cfg))
    for one in undone:
        _report(one)
    return [one["container"] for one in undone]


def cleanup(container: str, *, cfg: SandboxConfig) -> bool:
    """Removes what a container left: tokens, sidecar, runtime directory, noted directories, record. Idempotent.

    The container itself must be gone or is about to go. False when nothing is known about the name; ``ValueError`` for
    an unsafe name.
    """
    undone = _native().sandbox_forget(_place(cfg), container, _revoker(cfg))
    _report(undone)
    return undone is not None


@contextmanager
def guarded(container: str, *, cfg: SandboxConfig) -> Iterator[None]:
    """A launch as a block: opened, closed when the block ends, taken back when it raises. Inner blocks join outer."""
    names: set[str] = _open.__dict__.setdefault("names", set())
    if container in names:
        yield
        return
    begin(container, cfg=cfg)
    names.add(container)
    try:
        yield
    except BaseException:
        abandon(container, cfg=cfg)
        raise
    else:
        finish(container, cfg=cfg)
    finally:
        names.discard(container)


def allocate_per_container_resources(cfg: SandboxConfig, container: str) -> PerContainerResources:
    """Makes ``<runtime_dir>/run/<container>`` (0700) and, in TCP mode, finds three distinct free loopback ports.

    Opens the launch journal of the name. Raises ``ValueError`` for an unsafe name, ``SystemExit`` when a container of
    that name exists or is being launched, ``OSError`` when the directory cannot be made.
    """
    begin(container, cfg=cfg)
    try:
        made = _native().sandbox_allocate(_place(cfg), container)
    except BaseException:
        abandon(container, cfg=cfg)
        raise
    return PerContainerResources(
        Path(made["container_runtime_dir"]), made["token_broker_port"], made["ssh_signer_port"], made["gate_port"]
    )


def write_sidecar(
    container_name: str, *, cfg: SandboxConfig, per_container: PerContainerResources, scope_id: str = "",
    project_id: str = "", task_id: str = "", dossier_path: Path | None = None, gate_base_path: Path | None = None,
    gate_token: str | None = None, gate_port: int | None = None, gate_scope: str = "", token_scope: str = "",
    token_subject: str = "", credential_set: str = "", shared_logins: tuple[str, ...] | None = None,
    home_dir: Path | None = None,
) -> Path | None:  # fmt: skip
    """Writes the container's sidecar, 0600 and complete; ``None`` with a warning on stderr when it cannot be written.

    *gate_scope* names the one repository that the gate serves. *token_scope* and *token_subject* are those of the
    container's phantom tokens: its supervisor honours no other's. *shared_logins* names the providers whose shared
    login the container has (``None``: not known, all are honoured); *credential_set* is the set they are read from.
    *home_dir* holds its copies of the agent folders, from which the supervisor's hook takes settings over at its end.
    Raises ``ValueError`` for a name that is not one plain path component, or for members that no supervisor accepts.
    """
    tcp = cfg.services_mode == "tcp"
    members: dict[str, object] = {
        "container_name": container_name,
        "ipc_mode": "tcp" if tcp else "socket",
        "db_path": str(cfg.db_path),
        "scope_id": scope_id,
        "project_id": project_id,
        "task_id": task_id,
        "runtime_dir": str(cfg.runtime_dir),
    }
    if tcp:
        members["tcp_port"] = per_container.token_broker_port
        members["ssh_signer_port"] = per_container.ssh_signer_port
    if dossier_path is not None:
        members["dossier_path"] = str(dossier_path)
    if gate_base_path is not None and gate_token:
        members |= {"gate_base_path": str(gate_base_path), "gate_token": gate_token, "gate_port": gate_port}
        members["gate_scope"] = gate_scope
    members |= {"token_scope": token_scope, "token_subject": token_subject, "credential_set": credential_set}
    if shared_logins is not None:
        members["shared_logins"] = list(shared_logins)
    if home_dir is not None:
        members["home_dir"] = str(home_dir)
    try:
        return Path(_native().sandbox_write_sidecar(_place(cfg), members))
    except OSError as error:
        print(f"Warning: {error}", file=sys.stderr)
        return None


def prove_supervised(container: str, *, cfg: SandboxConfig) -> None:
    """Raises ``SystemExit`` with the cause unless the supervisor of the running container answers."""
    _native().sandbox_prove_supervised(_place(cfg), container)
