"""Subscribers: each would hand the events of a socket to a notifier. Starting one is refused in this version."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from terok_native.kept import kept
from terok_util.later import refuse

_PART = "live judgement of egress"


class _Notifier(Protocol):
    """Whoever is told about events; see :class:`terok_clearance.CallbackNotifier`."""

    async def disconnect(self) -> None:
        """No more events."""


@kept
class EventSubscriber:
    """Events of one hub."""

    def __init__(
        self, notifier: _Notifier | None, client: object = None, *, socket_path: Path | None = None,
        enabled_categories: Collection[str] | None = None,
    ) -> None:  # fmt: skip
        self._notifier = notifier

    async def start(self) -> None:
        """Refuse: see the module."""
        raise refuse(_PART)

    async def stop(self) -> None:
        """Nothing was started."""

    def poke_reconnect(self) -> None:
        """Nothing was connected."""


@kept
class MultiSocketSubscriber:
    """Events of every running container."""

    def __init__(
        self, notifier: _Notifier | None, *, socket_glob: str | None = None,
        enabled_categories: Collection[str] | None = None, rescan_interval_s: float = 2.0,
    ) -> None:  # fmt: skip
        self._notifier = notifier

    async def start(self) -> None:
        """Refuse: see the module."""
        raise refuse(_PART)

    async def stop(self) -> None:
        """Nothing was started."""
