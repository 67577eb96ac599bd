"""The generation with services for the whole host: what it left here, and what its management names mean now.

Only unit files whose first line is that generation's mark are removed, and only sockets of its names; links are not
followed. Everything is done as far as it goes: a service manager that is missing or does not answer stops nothing.
"""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

#: Of every service, its units, each with how the first line of a file begins that was written by that generation.
_UNITS = {
    "clearance": {
        f"terok-clearance-{part}.service": f"# terok-clearance-{part}-version:"
        for part in ("hub", "verdict", "notifier")
    },
    "vault": dict.fromkeys(
        ("terok-vault.socket", "terok-vault.service", "terok-vault-socket.service"), "# terok-vault-version:"
    ),
    "gate": dict.fromkeys(
        ("terok-gate.socket", "terok-gate@.service", "terok-gate-socket.service"), "# terok-gate-version:"
    ),
}
#: In the sandbox's runtime directory, beside the session passphrase, which stays.
_SOCKETS = ("vault.sock", "ssh-agent.sock", "gate-server.sock")
_EVENTS = "terok-shield-events.sock"


def sweep_leftovers(cfg: SandboxConfig) -> list[str]:
    """Stop and remove the units of every service, and remove the sockets; returns the names of what is gone.

    Raises:
        OSError: a file cannot be removed.
    """
    gone = sweep_units(*_UNITS)
    sockets = [cfg.runtime_dir / name for name in _SOCKETS]
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        sockets.append(Path(session, _EVENTS))
    for path in sockets:
        with suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
                gone.append(path.name)
    return gone


def sweep_units(*services: str) -> list[str]:
    """Stop and remove the units of *services* (``clearance``, ``vault``, ``gate``); returns their names.

    Raises:
        OSError: a file cannot be removed.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    folder = Path(home, "systemd", "user")
    ours = [
        path
        for service in services
        for name, mark in _UNITS[service].items()
        if _begins_with(path := folder / name, mark)
    ]
    for path in ours:
        # One by one, and while its file is there: a unit that is not there any more is not stopped, and one that
        # cannot be, as a template without an instance, must not keep the next from it.
        _systemctl("disable", "--now", path.name)
        path.unlink(missing_ok=True)
    if ours:
        _systemctl("daemon-reload")
    return [path.name for path in ours]


def _begins_with(path: Path, mark: str) -> bool:
    try:
        return not path.is_symlink() and path.is_file() and path.read_bytes().startswith(mark.encode())
    except OSError:
        return False


def _systemctl(*words: str) -> int | None:
    """Ask the user's service manager; the exit status, ``None`` when it is missing or does not answer."""
    try:
        return subprocess.run(["systemctl", "--user", *words], capture_output=True, timeout=10).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None


class HookedService:
    """A service of that generation as its front ends manage it, over the model of one supervisor per container.

    There is nothing to start: "installed" and "active" mean that the OCI hooks are installed, so that the next
    container gets the service from its supervisor.
    """

    #: Whose units :meth:`install_systemd_units` removes.
    _service: str

    def __init__(self, cfg: SandboxConfig | None = None) -> None:
        from terok_sandbox.config import SandboxConfig

        self._cfg = cfg or SandboxConfig()

    def _hooks_problem(self) -> str | None:
        from terok_sandbox.supervisor.install import check_supervisor_hooks

        return check_supervisor_hooks()

    def is_systemd_available(self) -> bool:
        """Return whether the user's service manager can be asked; its answer does not matter."""
        return _systemctl("is-system-running") not in (None, 124, 127)

    def is_socket_installed(self) -> bool:
        """Return whether the hooks are installed."""
        return self._hooks_problem() is None

    is_socket_active = is_daemon_running = is_socket_installed

    def install_systemd_units(self) -> None:
        """Install the hooks and remove units of the older generation; raises ``OSError`` or ``RuntimeError``."""
        from terok_sandbox.supervisor.install import install_supervisor_hooks

        install_supervisor_hooks()
        sweep_units(self._service)
