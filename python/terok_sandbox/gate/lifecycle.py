"""The management names of the generation with one gate service, over the model of one supervisor per container.

There is nothing to start: a supervisor serves the gate while its container runs. "Installed" and "reachable" therefore
mean that the OCI hooks are installed, so that the next container gets its service.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terok_native.kept import kept

from terok_sandbox.older_services import HookedService, sweep_units


@kept
@dataclass(frozen=True)
class GateServerStatus:
    """How the gate is served: *mode* is ``daemon`` (by supervisors) or ``none``, *transport* ``socket`` or ``tcp``."""

    mode: str
    running: bool
    port: int | None
    transport: str | None = None


@kept
class GateServerManager(HookedService):
    """The gate of one configuration (default: the host's), as its front ends manage it."""

    _service = "gate"

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

    is_socket_reachable = HookedService.is_socket_installed

    def uninstall_systemd_units(self) -> None:
        """Remove units of the older generation; the hooks serve more than the gate and stay."""
        sweep_units(self._service)

    def start_daemon(self, port: int | None = None) -> None:
        """Install the hooks where they are missing; *port* has no meaning any more."""
        if self._hooks_problem() is not None:
            self.install_systemd_units()

    def stop_daemon(self) -> None:
        """Remove units of the older generation. Running containers keep their gate: it ends with them."""
        sweep_units(self._service)
