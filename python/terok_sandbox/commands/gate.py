"""Verbs about a project's git mirror, and those that a host-wide gate server once had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.cli_types import ArgDef, CommandDef

from terok_sandbox.commands.arguments import flag

# For annotations only: importing it here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig


def _mirror(project: str, cfg: SandboxConfig | None) -> Path:
    """The mirror of a project, whether it exists or not.

    Raises:
        SystemExit: the name would lead elsewhere.
    """
    if project in ("", ".", "..") or any(sign in project for sign in "/\\\0"):
        raise SystemExit(f"`{project}` is not a project name: it must be one part of a path")
    from terok_sandbox.config import SandboxConfig

    name = project if project.endswith(".git") else f"{project}.git"
    return (cfg or SandboxConfig()).gate_base_path / name


def handle_gate_path(*, project: str, cfg: SandboxConfig | None = None) -> None:
    """Print the address of a project's mirror for use on this host.

    Raises:
        SystemExit: the project's name would lead out of the mirrors' directory.
    """
    print(f"file://{_mirror(project, cfg)}")


def handle_gate_backups(*, project: str, branch: str | None = None, cfg: SandboxConfig | None = None) -> None:
    """List the tips that are kept because a reference was moved away from them.

    Raises:
        SystemExit: there is no mirror.
    """
    from terok_native import _lib

    kept = _lib.mirror_list_kept(_mirror(project, cfg), branch)
    if not kept:
        print("nothing is kept")
    for name, commit, date, subject in kept:
        print(f"{commit[:12]}  {date:25}  {name}  {subject}")


def handle_gate_restore(
    *, project: str, branch: str, commit: str = "", name: str | None = None, cfg: SandboxConfig | None = None
) -> None:
    """Bring a kept tip back as the branch ``name`` (default: ``restored/<branch>``).

    Raises:
        SystemExit: nothing or more than one tip fits.
    """
    from terok_native import _lib

    target = name or f"restored/{branch}"
    found = _lib.mirror_restore(_mirror(project, cfg), branch, commit, target)
    print(f"branch {target} is {found[:12]}")


def handle_gate_follow(*, project: str, branches: list[str], cfg: SandboxConfig | None = None) -> None:
    """Make branches what the upstream has, also where it rewound or deleted them; their tips are kept.

    Raises:
        SystemExit: there is no mirror, or no such branch on either side.
    """
    from terok_native import _lib

    _lib.mirror_follow(_mirror(project, cfg), branches)
    print(f"as the upstream: {', '.join(branches)}")


def _explain(verb: str) -> None:
    print(f"gate {verb}: there is no gate server to look after; every container's supervisor serves its own gate")


def _check(verb: str) -> None:
    """Explain, and say whether containers will get their supervisor."""
    from terok_sandbox.supervisor.install import check_supervisor_hooks

    _explain(verb)
    problem = check_supervisor_hooks()
    if problem is None:
        print("the supervisor's hooks are installed")
    else:
        print(f"the supervisor's hooks need attention: {problem}")
        print("run `terok-sandbox setup`")


def handle_gate_install(*, cfg: SandboxConfig | None = None) -> None:
    """Explain that nothing is to be installed, and check the hooks."""
    _check("install")


def handle_gate_uninstall(*, cfg: SandboxConfig | None = None) -> None:
    """Explain that nothing is installed."""
    _explain("uninstall")


def handle_gate_start(*, port: int | None = None, daemon: bool = False, cfg: SandboxConfig | None = None) -> None:
    """Explain that nothing is to be started, and check the hooks; the options are those of old scripts."""
    _check("start")


def handle_gate_stop(*, cfg: SandboxConfig | None = None) -> None:
    """Explain that a gate ends with its container."""
    _explain("stop")


def handle_gate_status(*, cfg: SandboxConfig | None = None) -> None:
    """Explain, and check the hooks."""
    _check("status")


_PROJECT = ArgDef(name="project", help="Project")
_RETIRED = "Retired: says what holds now"

GATE = CommandDef(
    name="gate",
    help="Find a project's git mirror and what is kept in it",
    children=(
        CommandDef(
            name="path", help="Print the address of the mirror on this host", handler=handle_gate_path, args=(_PROJECT,)
        ),
    ),
)

#: Verbs of this command line alone; they are no part of the tree that other programs extend.
GATE_MORE = (
    CommandDef(
        name="backups",
        help="List old tips of branches that were moved or deleted",
        handler=handle_gate_backups,
        args=(_PROJECT, ArgDef(name="--branch", help="Only those of this branch")),
    ),
    CommandDef(
        name="restore",
        help="Bring an old tip back as a branch",
        handler=handle_gate_restore,
        args=(
            _PROJECT,
            ArgDef(name="branch", help="Name that `backups` shows"),
            ArgDef(name="--commit", default="", help="Which one, when several are kept"),
            ArgDef(name="--name", help="Name of the branch to make (default restored/<branch>)"),
        ),
    ),
    CommandDef(
        name="follow",
        help="Let branches follow the upstream also where it rewound or deleted them",
        handler=handle_gate_follow,
        args=(_PROJECT, ArgDef(name="branches", nargs="+", help="Branches")),
    ),
    CommandDef(name="install", help=_RETIRED, handler=handle_gate_install),
    CommandDef(name="uninstall", help=_RETIRED, handler=handle_gate_uninstall),
    CommandDef(
        name="start",
        help=_RETIRED,
        handler=handle_gate_start,
        args=(
            ArgDef(name="--port", type=int, help="Ignored"),
            flag("--daemon", "Ignored"),
        ),
    ),
    CommandDef(name="stop", help=_RETIRED, handler=handle_gate_stop),
    CommandDef(name="status", help=_RETIRED, handler=handle_gate_status),
)
