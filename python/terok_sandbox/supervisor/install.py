"""Installing and removing the OCI hook that gives every container its supervisor, and the emergency stop.

What is installed lies below the sandbox state root: two programs and one descriptor per stage in ``hooks/``, and
``supervisor_wrapper.py``, a link whose path marks supervisors in process lists. The directory is listed as
``hooks_dir`` in Podman's ``containers.conf``: the user's, or the system's for real root.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "check_supervisor_hooks",
    "install_supervisor_hooks",
    "kill_all_supervisors",
    "supervisor_executable",
    "uninstall_supervisor_hooks",
]


def supervisor_executable() -> Path:
    """The executable that came with this installation; the daemon ``terok-supervisord`` lies beside it.

    Raises:
        RuntimeError: one of them is missing; the message names the place.
    """
    import terok_native

    folder = Path(terok_native.__path__[0], "bin")
    for program in (folder / "terok-supervisord", folder / "terok-supervisor"):
        if not program.is_file():
            raise RuntimeError(
                f"cannot install the supervisor hooks: `{program}` does not exist; install terok-rs again"
            )
    return program


def install_supervisor_hooks(*, hooks_dir: Path | None = None) -> None:
    """Install program, descriptors and the ``containers.conf`` entry; doing it again changes nothing.

    Args:
        hooks_dir: directory for the program and its descriptors; default ``<state root>/hooks``. One that is not named
            ``hooks`` makes supervisors count to the state root of their sidecar.

    Raises:
        RuntimeError: the program is not part of this installation.
        OSError: a file cannot be written, or ``containers.conf`` cannot be read.
        ValueError: ``containers.conf`` is not usable; it is left as it was.
    """
    from terok_native import _lib

    _lib.supervisor_install_hooks(str(supervisor_executable()), hooks_dir=None if hooks_dir is None else str(hooks_dir))


def check_supervisor_hooks() -> str | None:
    """Return what keeps podman from running our hooks, or ``None`` when they are installed and current."""
    from terok_native import _lib

    try:
        _lib.supervisor_check_hooks()
    except (RuntimeError, OSError, ValueError, SystemExit) as problem:
        return str(problem).splitlines()[0]
    return None


def uninstall_supervisor_hooks(*, hooks_dir: Path | None = None) -> None:
    """Remove what :func:`install_supervisor_hooks` wrote, except the ``containers.conf`` entry.

    Sidecars, logs and pid files stay, and so do supervisors that run.

    Args:
        hooks_dir: as given at installation.

    Raises:
        OSError: a file cannot be removed; the others are.
    """
    from terok_native import _lib

    _lib.supervisor_uninstall_hooks(hooks_dir=None if hooks_dir is None else str(hooks_dir))


def kill_all_supervisors() -> list[tuple[str, str | None]]:
    """Kill every supervisor of this state root at once, with all processes of its group.

    Returns:
        One pair per pid file, ordered by file name: full container id, and ``None`` or what went wrong
        (``unreadable pid file: …``, ``SIGKILL failed: …``). A process that is no supervisor of that container is left
        alone and counts as gone. A pid file stays only when the kill failed.
    """
    from terok_native import _lib

    return _lib.supervisor_kill_all()
