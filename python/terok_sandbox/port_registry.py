"""Loopback ports of the family, claimed in one directory for all users of the host.

The directory and the range are read from environment and configuration at the first claim and stay for the process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from terok_native import _lib

from terok_sandbox import paths as _paths


class ServicePorts(NamedTuple):
    """The fixed ports of the host's services in TCP mode."""

    gate: int
    proxy: int
    ssh_agent: int


class PortRegistry:
    """Claims of this process in *registry_dir*; thread-safe."""

    def __init__(self, registry_dir: Path | None = None, port_range: range | None = None) -> None:
        self._dir = registry_dir
        self._range = port_range
        self._native = _lib.PortRegistryRef()
        self._services: ServicePorts | None = None

    @property
    def registry_dir(self) -> Path:
        """The shared directory; assign another one to move the claims that follow."""
        if self._dir is None:
            self._dir = _paths.port_registry_dir()
        return self._dir

    @registry_dir.setter
    def registry_dir(self, value: Path) -> None:
        self._dir = value

    @property
    def port_range(self) -> range:
        """Ports that may be given out."""
        if self._range is None:
            first, last = _lib.base_setting_port_range()
            self._range = range(first, last + 1)
        return self._range

    @port_range.setter
    def port_range(self, value: range) -> None:
        self._range = value

    def _ground(self) -> tuple[Path, tuple[int, int]]:
        return self.registry_dir, (self.port_range.start, self.port_range.stop - 1)

    def claim(
        self, key: str, preferred: int | None = None, *, explicit: bool = False, trusted: bool = False,
        kept: bool = False,
    ) -> int:  # fmt: skip
        """Return a port for *key*; a key that this process holds keeps its port.

        *explicit*: exactly *preferred*, which must be free. *trusted*: exactly *preferred*, in use or not. *kept*: the
        port that this user recorded for *key* earlier (and *preferred*, if given), in use or not. Otherwise the search
        begins at *preferred*. Raises ``SystemExit`` with the reason when there is no such port.
        """
        wish: Literal["any", "fixed", "ours", "kept"]
        wish = "fixed" if explicit else "ours" if trusted else "kept" if kept else "any"
        return self._native.claim(*self._ground(), key, preferred, wish)

    def release(self, key: str) -> None:
        """Give the port of *key* back, whichever process of this user claimed it."""
        self._native.release(*self._ground(), key)

    def reset(self) -> None:
        """Forget what this process holds, and where the claims are."""
        self._native.reset()
        self._services = None

    def resolve_service_ports(
        self,
        gate: int | None = None,
        proxy: int | None = None,
        ssh: int | None = None,
        *,
        gate_explicit: bool = False,
        proxy_explicit: bool = False,
        ssh_explicit: bool = False,
        state_dir: Path,
    ) -> ServicePorts:
        """Return the three service ports: explicit ones, else those of the last run, else fresh ones.

        The first answer holds for the process and is recorded in ``state_dir/port-claims.json`` when that directory
        exists. Raises ``SystemExit`` when one cannot be had; none is claimed then.
        """
        if self._services is None:
            requests = [(gate, gate_explicit), (proxy, proxy_explicit), (ssh, ssh_explicit)]
            found = self._native.resolve(*self._ground(), requests, state_dir)
            self._services = ServicePorts(*found)
        return self._services


_default = PortRegistry()


def claim_port(key: str, preferred: int | None = None, *, explicit: bool = False) -> int:
    """Return a loopback port for *key*; see :meth:`PortRegistry.claim`."""
    return _default.claim(key, preferred, explicit=explicit)


def keep_port(key: str, preferred: int | None = None) -> int:
    """Return the port recorded for *key*, whoever listens there, or else a new one from *preferred* on."""
    return _default.claim(key, preferred, kept=True)


def release_port(key: str) -> None:
    """Give the port of *key* back; a key without a port is fine."""
    _default.release(key)


def resolve_service_ports(
    gate: int | None = None,
    proxy: int | None = None,
    ssh: int | None = None,
    *,
    gate_explicit: bool = False,
    proxy_explicit: bool = False,
    ssh_explicit: bool = False,
    state_dir: Path,
) -> ServicePorts:
    """Return the three service ports; see :meth:`PortRegistry.resolve_service_ports`."""
    fixed = {"gate_explicit": gate_explicit, "proxy_explicit": proxy_explicit, "ssh_explicit": ssh_explicit}
    return _default.resolve_service_ports(gate, proxy, ssh, state_dir=state_dir, **fixed)


def reset_cache() -> None:
    """Forget the service ports of this process and everything it holds."""
    _default.reset()


def __getattr__(name: str) -> object:
    if name == "PORT_RANGE":
        return _default.port_range
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
