"""The management names of the generation with one gate service, over the model of one supervisor per container.

There is nothing to start: a supervisor serves the gate while its container runs. "Installed" and "reachable" therefore
mean that the OCI hooks are installed, so that the next container gets its service.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

#: Only files with this mark in their first line were written by the generation that had them.
_MARK = "# terok-gate-version:"
_UNITS = ("terok-gate.socket", "terok-gate@.service", "terok-gate-socket.service")


@dataclass(frozen=True)
class GateServerStatus:
    """How the gate is served: *mode* is ``daemon`` (by supervisors) or ``none``, *transport* ``socket`` or ``tcp``."""

    mode: str
    running: bool
    port: int | None
    transport: str | None = None


class GateServerManager:
    """The gate of one configuration (default: the host's), as its front ends manage it."""

    def __init__(self, cfg: SandboxConfig | None = None) -> None:
        from terok_sandbox.config import SandboxConfig

        self._cfg = cfg or SandboxConfig()

    @property
    def gate_base_path(self) -> Path:
        """Directory of the mirrors."""
        return self._cfg.gate_base_path

    @property
    def server_port(self) -> int | None:
        """Port that the configuration fixes for the gate; ``None`` in socket mode."""
        return None if self._cfg.services_mode == "socket" else self._cfg.gate_port

    def get_status(self) -> GateServerStatus:
        """Look at the hooks; ``running`` says that a container started now would have its gate."""
        if self._hooks_problem() is not None:
            return GateServerStatus("none", False, self.server_port)
        return GateServerStatus("daemon", True, self.server_port, self._cfg.services_mode)

    def ensure_reachable(self) -> None:
        """Return when a container started now would have its gate.

        Raises:
            SystemExit: the hooks are not installed, or not by this version; the text says which.
        """
        if problem := self._hooks_problem():
            raise SystemExit(problem)

    def check_units_outdated(self) -> str | None:
        """Return ``None``: hooks that are not of this version count as not installed."""
        return None

    def is_systemd_available(self) -> bool:
        """Return whether the user's service manager can be asked; its answer does not matter."""
        try:
            argv = ["systemctl", "--user", "is-system-running"]
            done = subprocess.run(argv, capture_output=True, timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode not in (124, 127)

    def is_socket_installed(self) -> bool:
        """Return whether the hooks are installed."""
        return self._hooks_problem() is None

    def is_socket_active(self) -> bool:
        """Return whether the hooks are installed."""
        return self.is_socket_installed()

    def is_socket_reachable(self) -> bool:
        """Return whether the hooks are installed."""
        return self.is_socket_installed()

    def is_daemon_running(self) -> bool:
        """Return whether the hooks are installed."""
        return self.is_socket_installed()

    def install_systemd_units(self) -> None:
        """Install the hooks and remove units of the older generation; raises ``OSError`` or ``RuntimeError``."""
        from terok_sandbox.supervisor.install import install_supervisor_hooks

        install_supervisor_hooks()
        _sweep_units()

    def uninstall_systemd_units(self) -> None:
        """Remove units of the older generation; the hooks serve more than the gate and stay."""
        _sweep_units()

    def start_daemon(self, port: int | None = None) -> None:
        """Install the hooks where they are missing; *port* has no meaning any more."""
        if self._hooks_problem() is not None:
            self.install_systemd_units()

    def stop_daemon(self) -> None:
        """Remove units of the older generation. Running containers keep their gate: it ends with them."""
        _sweep_units()

    def _hooks_problem(self) -> str | None:
        from terok_sandbox.supervisor.install import check_supervisor_hooks

        return check_supervisor_hooks()


def _sweep_units() -> None:
    """Stop and remove unit files of the older generation that carry its mark; others are left alone."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    ours = []
    for name in _UNITS:
        path = Path(home, "systemd", "user", name)
        with suppress(OSError, UnicodeDecodeError):
            if not path.is_symlink() and path.read_text(encoding="utf-8").startswith(_MARK):
                ours.append(path)
    for path in ours:
        _systemctl("disable", "--now", path.name)
        path.unlink(missing_ok=True)
    if ours:
        _systemctl("daemon-reload")


def _systemctl(*words: str) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["systemctl", "--user", *words], capture_output=True, timeout=10)
