"""Health checks as values: what to probe and how to judge the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CheckVerdict", "DoctorCheck"]


@dataclass(frozen=True)
class CheckVerdict:
    """The outcome of one check; ``severity`` is ``ok``, ``warn`` or ``error``."""

    severity: str
    detail: str
    fixable: bool = False


@dataclass(frozen=True)
class DoctorCheck:
    """One check.

    ``probe_cmd`` runs in the container (or on the host when there is none) and ``evaluate`` judges its exit status,
    standard output and standard error. With ``host_side`` nothing is run: ``evaluate`` gets 0, a state text and ``""``.
    """

    category: str
    label: str
    probe_cmd: list[str]
    evaluate: Callable[[int, str, str], CheckVerdict]
    fix_cmd: list[str] | None = None
    fix_description: str = ""
    host_side: bool = False
