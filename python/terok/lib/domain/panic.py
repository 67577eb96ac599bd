"""The emergency stop: cut every task off from credentials and code at once, then stop what runs if asked to.

Reversible on purpose: containers, tokens, stored passphrases and tasks stay. Tasks are found by the names of their
containers, so that those of broken projects and of deleted tasks are found as well. The lock is written first; while
it exists no task starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from terok_native.kept import kept

from terok.lib.core.task_state import CONTAINER_MODES

if TYPE_CHECKING:
    from terok_sandbox.runtime.podman import PodmanRuntime

__all__ = [
    "PanicResult", "clear_panic_lock", "execute_panic", "format_panic_report", "is_panicked", "panic_lock_path",
    "panic_stop_containers",
]  # fmt: skip

_BUDGET_S = 15.0
_ALIVE = {"running", "paused"}
_OURS = re.compile(rf"[a-z0-9][a-z0-9_-]*-(?:{'|'.join(CONTAINER_MODES)})-[ghjkmnp-tv-z][0-9][0-9a-hjkmnp-tv-z]{{3}}")
_Step = Callable[[str], None]
_Errors = list[tuple[str, str]]


@kept
@dataclass
class PanicResult:
    """What an emergency stop did; pairs of errors are a container, or a supervisor, and a text.

    ``containers_paused`` are those that no firewall could quarantine and that podman froze instead.
    """

    shields_raised: list[str] = field(default_factory=list)
    shield_errors: _Errors = field(default_factory=list)
    supervisors_killed: list[str] = field(default_factory=list)
    supervisor_errors: _Errors = field(default_factory=list)
    vault_stopped: bool = False
    vault_error: str | None = None
    gate_stopped: bool = False
    gate_error: str | None = None
    containers_stopped: list[str] = field(default_factory=list)
    container_stop_errors: _Errors = field(default_factory=list)
    shield_bypassed: bool = False
    total_running: int = 0
    containers_paused: list[str] = field(default_factory=list)

    @property
    def has_errors(self) -> bool:
        """Whether anything could not be done."""
        lists = (self.shield_errors, self.supervisor_errors, self.container_stop_errors)
        return any(lists) or bool(self.vault_error or self.gate_error)


def panic_lock_path() -> Path:
    """Where the lock is; whether it is there is what :func:`is_panicked` tells."""
    from terok.lib.core import paths

    return paths.core_state_dir() / "panic.lock"


def is_panicked() -> bool:
    """Whether an emergency stop is in force: no task starts until it is cleared."""
    return panic_lock_path().exists()


def clear_panic_lock() -> None:
    """Let tasks start again; clearing twice does nothing."""
    panic_lock_path().unlink(missing_ok=True)


def _write_lock() -> None:
    path = panic_lock_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(datetime.now(UTC).isoformat() + "\n", encoding="utf-8")


def _runtime() -> PodmanRuntime:
    from terok.lib.integrations import sandbox

    runtime: PodmanRuntime = sandbox.PodmanRuntime()
    return runtime


def _targets() -> list[str]:
    """The containers of tasks that are running or paused, whatever is known about their projects."""
    states = _runtime().all_states()
    return sorted(name for name, state in states.items() if state in _ALIVE and _OURS.fullmatch(name))


def _each(names: list[str], step: _Step, limit: float | None = None) -> tuple[list[str], _Errors]:
    """Run *step* for every name at once, on threads that a leaving process does not wait for."""
    began, done, errors = monotonic(), [], []
    futures = {name: _start(step, name) for name in names}
    for name, future in futures.items():
        left = None if limit is None else max(0.0, limit - (monotonic() - began))
        try:
            future.result(left)
            done.append(name)
        except TimeoutError:
            errors.append((name, f"timed out after {limit:g} s"))
        except BaseException as error:
            errors.append((name, str(error) or type(error).__name__))
    return done, errors


def _start(step: _Step, name: str) -> Future[None]:
    future: Future[None] = Future()

    def run() -> None:
        try:
            step(name)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    Thread(target=run, name=f"panic-{name}", daemon=True).start()
    return future


def execute_panic(*, stop_containers: bool = False) -> PanicResult:
    """Cut every running task off; with *stop_containers* also stop it. No failure keeps the rest from being done."""
    from terok.lib.core import config

    result = PanicResult(shield_bypassed=config.get_shield_bypass_firewall_no_protection())
    try:
        _write_lock()
    except OSError as error:
        result.vault_error = f"the panic lock cannot be written, so tasks may start again: {error}"
    _lock_vault(result)
    _kill_supervisors(result)
    try:
        names = _targets()
    except (FileNotFoundError, RuntimeError) as error:
        result.shield_errors.append(("podman", str(error)))
        return result
    result.total_running = len(names)
    _contain(names, result)
    if stop_containers and names:
        result.containers_stopped, result.container_stop_errors = panic_stop_containers()
    return result


def _lock_vault(result: PanicResult) -> None:
    from terok.lib.core import config

    try:
        config.make_sandbox_config().vault_passphrase_file.unlink(missing_ok=True)
        result.vault_stopped = True
    except OSError as error:
        result.vault_error = "; ".join(filter(None, (result.vault_error, str(error))))


def _kill_supervisors(result: PanicResult) -> None:
    from terok_sandbox.supervisor import install

    try:
        found = install.kill_all_supervisors()
    except (OSError, RuntimeError) as error:
        result.supervisor_errors.append(("supervisors", str(error)))
        return
    result.supervisors_killed = [name for name, trouble in found if trouble is None]
    result.supervisor_errors += [(name, trouble) for name, trouble in found if trouble is not None]
    result.gate_stopped = not result.supervisor_errors


def _contain(names: list[str], result: PanicResult) -> None:
    """Quarantine what a firewall guards; freeze the rest, so that no container goes on talking."""
    open_ones = list(names)
    if not result.shield_bypassed:
        result.shields_raised, failed = _each(names, _quarantine, _BUDGET_S)
        open_ones = [name for name, _ in failed]
    result.containers_paused, result.shield_errors = _each(open_ones, _pause, _BUDGET_S)


def _quarantine(name: str) -> None:
    from terok.lib.integrations import sandbox

    project, _, task = name.rsplit("-", 2)
    sandbox.ShieldManager(_task_directory(project, task)).quarantine(name)


def _task_directory(project_id: str, task_id: str) -> Path:
    """The task's directory; of a project that cannot be loaded, the place where it would be by default."""
    from terok.lib.core import config, projects

    try:
        root = projects.load_project(project_id).tasks_root
    except SystemExit:
        root = config.sandbox_live_dir() / "tasks" / project_id
    return Path(root) / task_id


def _pause(name: str) -> None:
    container: Any = _runtime().container(name)
    if container.state != "paused":
        container.pause()


def panic_stop_containers() -> tuple[list[str], _Errors]:
    """Stop every task's container at once, without removing it: the names stopped, and the others with a text.

    A podman that cannot be asked is such a text, too: nothing is raised.
    """
    runtime = _runtime()
    try:
        names = _targets()
    except (FileNotFoundError, RuntimeError) as error:
        return [], [("podman", str(error))]
    return _each(names, lambda name: runtime.container(name).stop(timeout=0), _BUDGET_S)


def format_panic_report(result: PanicResult) -> str:
    """Return the report as lines for a person."""
    lines = [f"Containers found: {result.total_running}", _shields(result)]
    if result.containers_paused:
        lines.append(f"Containers frozen: {len(result.containers_paused)}")
    lines.append(f"Supervisors killed: {len(result.supervisors_killed)}")
    lines.append(f"Vault: {'locked' if result.vault_stopped else 'NOT locked'}")
    if result.containers_stopped:
        lines.append(f"Containers killed: {len(result.containers_stopped)}")
    return "\n".join(lines + _troubles(result))


def _shields(result: PanicResult) -> str:
    if result.shield_bypassed:
        return "Shields: BYPASSED by configuration"
    failed = f" ({len(result.shield_errors)} failed)" if result.shield_errors else ""
    return f"Shields raised: {len(result.shields_raised)}{failed}"


def _troubles(result: PanicResult) -> list[str]:
    pairs = [("shield", *pair) for pair in result.shield_errors]
    pairs += [("supervisor", *pair) for pair in result.supervisor_errors]
    pairs += [("kill", *pair) for pair in result.container_stop_errors]
    lines = [f"  {kind} {name}: {text}" for kind, name, text in pairs]
    lines += [f"  vault: {result.vault_error}"] if result.vault_error else []
    lines += [f"  gate: {result.gate_error}"] if result.gate_error else []
    return ["Errors:", *lines] if lines else []
