"""Whether SELinux lets containers reach the sockets of their supervisor.

Containers may connect to sockets of the type that our policy module defines. This version does not bring the module:
on a host that enforces SELinux, the TCP mode is the way.
"""

from __future__ import annotations

import ctypes.util
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from terok_native.kept import kept
from terok_util.later import refuse

_ENFORCE = Path("/sys/fs/selinux/enforce")
_MODULES = (Path("/var/lib/selinux/targeted/active/modules"), Path("/etc/selinux/targeted/active/modules"))
_MODULE = "terok_socket"
_COMPILERS = ("checkmodule", "semodule_package", "semodule")


@kept
class SelinuxStatus(Enum):
    """The outcome of :func:`check_selinux_status`."""

    NOT_APPLICABLE_TCP_MODE = "not_applicable_tcp_mode"
    NOT_APPLICABLE_PERMISSIVE = "not_applicable_permissive"
    POLICY_MISSING = "policy_missing"
    POLICY_OUTDATED = "policy_outdated"
    LIBSELINUX_MISSING = "libselinux_missing"
    OK = "ok"


@kept
@dataclass(frozen=True)
class SelinuxCheckResult:
    """``missing_policy_tools``: programs that would be needed to build the policy and are not on ``PATH``."""

    status: SelinuxStatus
    missing_policy_tools: tuple[str, ...] = ()


def _enforced() -> bool:
    try:
        return _ENFORCE.read_text().strip() == "1"
    except OSError:
        return False


def _policy_installed() -> bool:
    return any(found for modules in _MODULES for found in modules.glob(f"*/{_MODULE}"))


def check_selinux_status(*, services_mode: str) -> SelinuxCheckResult:
    """Return the first that holds: not needed, not enforced, policy missing, library missing, well."""
    if services_mode != "socket":
        return SelinuxCheckResult(SelinuxStatus.NOT_APPLICABLE_TCP_MODE)
    if not _enforced():
        return SelinuxCheckResult(SelinuxStatus.NOT_APPLICABLE_PERMISSIVE)
    if not _policy_installed():
        missing = tuple(tool for tool in _COMPILERS if shutil.which(tool) is None)
        return SelinuxCheckResult(SelinuxStatus.POLICY_MISSING, missing)
    if ctypes.util.find_library("selinux") is None:
        return SelinuxCheckResult(SelinuxStatus.LIBSELINUX_MISSING)
    return SelinuxCheckResult(SelinuxStatus.OK)


def selinux_install_script() -> Path:
    """Refuse: see the module."""
    raise refuse("the SELinux policy module")


def selinux_install_command() -> str:
    """Return what to do instead: the setting that needs no policy."""
    return "set `services: {mode: tcp}` in config.yml (this version brings no SELinux policy module)"
