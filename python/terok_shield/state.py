"""The states of one container's firewall."""

from enum import Enum

from terok_native.kept import kept


@kept
class ShieldState(Enum):
    """``DISABLED`` is the one of a version without a firewall."""

    UP = "up"
    DOWN = "down"
    DISENGAGED = "disengaged"
    QUARANTINE = "quarantine"
    OFFLINE = "offline"
    DISABLED = "disabled"
