"""The services of 0.7.9: hub, verdict service and notifier as units of the user. None is installed by this version."""

from __future__ import annotations

from pathlib import Path

from terok_native.kept import kept
from terok_util.later import refuse

HUB_UNIT_NAME = "terok-clearance-hub.service"
NOTIFIER_UNIT_NAME = "terok-clearance-notifier.service"
_PART = "the service for live judgement of egress"


class _Service:
    """A service that is not installed, so that nothing of it is out of date or left behind."""

    @classmethod
    def uninstall(cls) -> None:
        """Nothing was installed, so nothing is left."""

    @classmethod
    def installed_version(cls) -> int | None:
        """Return ``None``: not installed."""
        return None

    @classmethod
    def outdated_warning(cls) -> str | None:
        """Return ``None``: what is not installed is not out of date."""
        return None


@kept
class HubService(_Service):
    """The hub and the service that applies verdicts."""

    UNIT_NAMES = (HUB_UNIT_NAME, "terok-clearance-verdict.service")
    UNIT_VERSION = 3

    @classmethod
    def install(cls, bin_path: Path | None = None) -> tuple[Path, Path]:
        """Refuse: see the module."""
        raise refuse(_PART)


@kept
class NotifierService(_Service):
    """The notifier of the desktop."""

    UNIT_NAMES = (NOTIFIER_UNIT_NAME,)
    UNIT_VERSION = 5

    @classmethod
    def install(cls, bin_path: Path | None = None) -> Path:
        """Refuse: see the module."""
        raise refuse(_PART)


def clearance_outdated_summary() -> str | None:
    """Return the hub's warning, else the notifier's."""
    return HubService.outdated_warning() or NotifierService.outdated_warning()


def check_clearance_units_outdated() -> str | None:
    """See :func:`clearance_outdated_summary`."""
    return clearance_outdated_summary()


def read_installed_unit_version() -> int | None:
    """Return the hub's installed version."""
    return HubService.installed_version()


def read_installed_notifier_unit_version() -> int | None:
    """Return the notifier's installed version."""
    return NotifierService.installed_version()
