"""The private git directory of a run on a directory of this host, and the way back of its commits.

The container never sees the user's own ``.git``. When it has ended, by whatever way, its commits become a branch
``terok/<run>`` of the user's repository; a run whose process is gone is completed by the next command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.shell import command_line

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.sandbox import VolumeSpec

    from terok_executor.container.plan import RunPlan

#: States of a container whose program may still work.
_ALIVE = frozenset({"running", "paused", "created", "initialized", "stopping"})


def check(folder: Path) -> bool:
    """Refuse a directory whose git directory cannot be protected; true when it has one.

    Raises:
        SystemExit: it is a bare repository, lies in a git directory, or its ``.git`` leads elsewhere.
    """
    from terok_native import _lib

    return _lib.workspace_check(folder)


def clone_url(folder: Path, *, gate: bool) -> str:
    """The address by which the mirror reads a directory's repository.

    Raises:
        SystemExit: there is no repository, or the container could not reach it without the gate.
    """
    if not gate:
        raise SystemExit(
            "cannot use --clone with --no-gate: a container reaches a directory through the gate only\n"
            "hint: leave one of the two out"
        )
    if not check(folder):
        raise SystemExit(
            f"cannot clone `{folder}`: it is not the top directory of a git repository\n"
            "hint: give the top directory, or leave out --clone to let the container work in the directory itself"
        )
    return f"file://{folder}"


def prepare(cfg: SandboxConfig, plan: RunPlan, others: list[Path], *, branch_only: bool) -> list[VolumeSpec]:
    """Make the private git directory of a run on a directory; the volumes that put it in place. None for other runs.

    Raises:
        SystemExit: the directory cannot be protected.
    """
    from terok_native import _lib
    from terok_sandbox.sandbox import VolumeSpec

    if plan.local_repo is None:
        return []
    mounts = _lib.workspace_prepare(
        cfg.state_dir, plan.container, plan.run_id, plan.local_repo, others, branch_only
    )
    return [
        VolumeSpec(Path(mount["host_path"]), mount["container_path"], read_only=mount["read_only"], live=True)
        for mount in mounts
    ]


@contextmanager
def removed_on_failure(cfg: SandboxConfig, plan: RunPlan) -> Iterator[None]:
    """A launch as a block: what :func:`prepare` made is removed when it fails before a container works with it."""
    try:
        yield
    except BaseException:
        # A container of this name that runs nevertheless is another launch's.
        if plan.local_repo is not None:
            _remove(cfg, plan.container, plan.run_id)
        raise


def _remove(cfg: SandboxConfig, container: str, run: str | None = None) -> None:
    """Remove what :func:`prepare` made; with *run*, only for this run."""
    from terok_native import _lib

    _lib.workspace_remove(cfg.state_dir, container, run)


def bring_back(cfg: SandboxConfig, container: str) -> None:
    """Bring the commits of an ended container back and print what came; nothing while it runs."""
    if container not in _names(cfg):
        return
    try:
        state = _states().get(container)
    except (RuntimeError, OSError):
        return  # the next command that finds podman completes it
    if state not in _ALIVE:
        _bring(cfg, container, sys.stdout)


def end(cfg: SandboxConfig, container: str) -> None:
    """Bring the commits of a removed container back, print what came, and remove its private git directory."""
    if container in _names(cfg) and _bring(cfg, container, sys.stdout):
        _remove(cfg, container)


def sweep(cfg: SandboxConfig) -> None:
    """Complete runs whose process is gone: bring commits back, remove what belongs to containers that are no more.

    Costs one directory listing when there is nothing to do.
    """
    from terok_native import _lib

    known = _lib.workspace_list(cfg.state_dir) if _names(cfg) else []
    # A launch that is under way has a journal; its container may not exist yet. Journals first, then states.
    known = [(name, ended) for name, ended in known if not (cfg.state_dir / "launches" / f"{name}.json").exists()]
    if not known:
        return
    try:
        states = _states()
    except (RuntimeError, OSError):
        return  # podman says itself what is wrong when it is needed
    for name, ended in known:
        state = states.get(name)
        if state in _ALIVE or (state is not None and ended):
            continue
        if _bring(cfg, name, sys.stderr) and state is None:
            _remove(cfg, name)


def announce(plan: RunPlan) -> None:
    """Say where the commits of a run that goes on by itself will arrive."""
    if plan.local_repo is not None:
        stop = command_line("terok-executor", "stop", plan.container)
        print(f"commits come back as branch `terok/{plan.run_id}` when the container ends; end it with: {stop}")


def _names(cfg: SandboxConfig) -> set[str]:
    try:
        return {name for name in os.listdir(cfg.state_dir / "workspaces") if not name.startswith(".")}
    except OSError:
        return set()


def _states() -> dict[str, str]:
    from terok_executor.container import listing

    return listing.states()


def _bring(cfg: SandboxConfig, container: str, to: object) -> bool:
    """Bring back and print; false with a warning when it failed, and everything is kept then."""
    from terok_native import _lib

    try:
        report = _lib.workspace_bring(cfg.state_dir, container)
    except (SystemExit, OSError, RuntimeError, ValueError, TimeoutError) as error:
        kept = cfg.state_dir / "workspaces" / container
        text = f"Warning: the commits of `{container}` are not back: {error}\nthey are kept in `{kept}`"
        print(text, file=sys.stderr, flush=True)
        return False
    if report:
        print(report, file=to, flush=True)  # type: ignore[call-overload]
    return True
