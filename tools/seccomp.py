"""Writes the seccomp profiles of containers from podman's default profile.

``tools/seccomp.py [DEFAULT]`` reads podman's profile (by default the installed one) and replaces the files in
``python/terok_sandbox/resources/seccomp``. What is taken away, and why, is the data in this file. Rules compare the
32 bits that the kernel uses, never the whole register: podman's own comparison of 64 bits is CVE-2026-123876.

=============  ====================================================================================================
``standard``   podman's default without what agents do not need
``restricted`` also without setuid and setgid bits on files, for containers with ``no-new-privileges``
``nested``     for containers that run containers: user namespaces, mounts, keys and netfilter sockets stay
=============  ====================================================================================================
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "python/terok_sandbox/resources/seccomp"
DEFAULT = Path("/usr/share/containers/seccomp.json")

EPERM, EINVAL, ENOSYS, EPROTONOSUPPORT, EAFNOSUPPORT = 1, 22, 38, 93, 97
CLONE_NEWUSER = 0x10000000
LOW = 0xFFFFFFFF
SETUID, SETGID = 0o4000, 0o2000
O_CREAT, O_TMPFILE = 0o100, 0o20000000

#: Namespaces and mounts: only of use with a user namespace of one's own.
NAMESPACES = {
    "clone", "clone3", "unshare", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
    "open_tree", "pivot_root", "setns", "umount", "umount2",
}  # fmt: skip
#: Keys of the kernel, which are shared by all containers of a user.
KEYS = {"add_key", "keyctl", "request_key"}
#: Kernel interfaces that exploits use and agents do not; the programs that can use them work without them.
SURFACE = {"io_uring_enter", "io_uring_register", "io_uring_setup", "modify_ldt", "userfaultfd"}
#: One call for all socket calls; its arguments are out of reach for a filter.
MULTIPLEXED = {"socketcall"}
#: Needs a capability that containers have.
CAPABLE = {"chroot"}
#: Creates or changes the mode of a file: the position of the mode.
MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2}
#: Opens a file: positions of flags and mode.
OPENS = {"open": (1, 2), "openat": (2, 3)}
#: Takes the mode in memory, out of reach for a filter; programs fall back to `openat`.
UNREADABLE = {"openat2"}
UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
#: AF_PACKET, AF_BLUETOOTH, AF_ALG, AF_VSOCK.
REFUSED_FAMILIES = (17, 31, 38, 40)
#: ROUTE, SOCK_DIAG, KOBJECT_UEVENT, GENERIC.
PROTOCOLS = {0, 4, 15, 16}
#: XFRM, NETFILTER: a container engine configures its networks through them.
NESTED_PROTOCOLS = PROTOCOLS | {6, 12}
AUDIT = 9
LAST_PROTOCOL = 22


def main() -> int:
    default = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT).read_text())
    TARGET.mkdir(exist_ok=True)
    for kind in ("standard", "restricted", "nested"):
        text = json.dumps(profile(default, kind), indent=1) + "\n"
        (TARGET / f"{kind}.json").write_text(text)
    return 0


def profile(default: dict[str, Any], kind: str) -> dict[str, Any]:
    """One profile, without the calls of 32-bit programs: their sockets are made by one call that no rule can judge."""
    allowed = always_allowed(default) | CAPABLE | {"arch_prctl"}
    refused = always_refused(default) - allowed
    allowed -= SURFACE | MULTIPLEXED | refused | {"socket", "personality"}
    rules = [*socket_rules(NESTED_PROTOCOLS if kind == "nested" else PROTOCOLS), *personality_rules(default)]
    if kind != "nested":
        allowed -= NAMESPACES | KEYS
        refused |= NAMESPACES - {"clone", "clone3", "unshare"}
        rules += namespace_rules()
    if kind == "restricted":
        allowed -= set(MODES) | set(OPENS) | UNREADABLE
        rules += mode_rules()
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "defaultErrno": "ENOSYS",
        "archMap": [entry | {"subArchitectures": []} for entry in default["archMap"]],
        "syscalls": [rule(sorted(allowed)), rule(sorted(refused), EPERM), *rules],
    }


def always_allowed(default: dict[str, Any]) -> set[str]:
    """The calls that podman's profile allows whatever their arguments and the container's capabilities are."""
    rules = [one for one in default["syscalls"] if one["action"] == "SCMP_ACT_ALLOW"]
    return {name for one in rules if not one.get("includes") and not one.get("args") for name in one["names"]}


def always_refused(default: dict[str, Any]) -> set[str]:
    """The calls that podman's profile answers with EPERM, those that need a capability included."""
    rules = [one for one in default["syscalls"] if one["action"] == "SCMP_ACT_ERRNO" and one["errnoRet"] == EPERM]
    return {name for one in rules if not one.get("args") for name in one["names"]}


def rule(names: list[str], errno: int | None = None, *args: dict[str, Any], **only: Any) -> dict[str, Any]:
    action = {"action": "SCMP_ACT_ALLOW"} if errno is None else {"action": "SCMP_ACT_ERRNO", "errnoRet": errno}
    return {"names": names, **action, "args": list(args), **only}


def masked(index: int, mask: int, value: int) -> dict[str, Any]:
    """Holds when the bits of *mask* in the argument are those of *value*."""
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def socket_rules(protocols: set[int]) -> list[dict[str, Any]]:
    """Local and internet sockets, and the netlink protocols that tools read; all other families are refused."""
    family = lambda number: masked(0, LOW, number)  # noqa: E731
    rules = [rule(["socket"], None, family(number)) for number in (UNIX, INET, INET6)]
    for protocol in range(LAST_PROTOCOL + 1):
        # Programs with support for the audit log take this answer for a kernel without it.
        errno = EINVAL if protocol == AUDIT else EPROTONOSUPPORT
        errno_or_none = None if protocol in protocols else errno
        rules.append(rule(["socket"], errno_or_none, family(NETLINK), masked(2, LOW, protocol)))
    return rules + [rule(["socket"], EAFNOSUPPORT, family(number)) for number in REFUSED_FAMILIES]


def personality_rules(default: dict[str, Any]) -> list[dict[str, Any]]:
    known = [one["args"][0]["value"] for one in default["syscalls"] if one["names"] == ["personality"]]
    return [rule(["personality"], None, masked(0, LOW, value)) for value in known]


def namespace_rules() -> list[dict[str, Any]]:
    """No user namespaces; `clone3` has its flags in memory, so it does not exist and libc takes `clone`."""
    s390 = {"arches": ["s390", "s390x"]}
    rules = []
    for names, index, only in (
        (["clone"], 0, {"excludes": s390}), (["clone"], 1, {"includes": s390}), (["unshare"], 0, {}),
    ):  # fmt: skip
        rules.append(rule(names, None, masked(index, CLONE_NEWUSER, 0), **only))
        rules.append(rule(names, EPERM, masked(index, CLONE_NEWUSER, CLONE_NEWUSER), **only))
    return rules


def mode_rules() -> list[dict[str, Any]]:
    """No file gets a setuid or setgid bit."""
    rules = []
    for name, index in MODES.items():
        rules.append(rule([name], None, masked(index, SETUID | SETGID, 0)))
        rules += [rule([name], EPERM, masked(index, bit, bit)) for bit in (SETUID, SETGID)]
    for name, (flags, mode) in OPENS.items():
        # Without O_CREAT and O_TMPFILE the mode is whatever the register holds.
        rules.append(rule([name], None, masked(flags, O_CREAT | O_TMPFILE, 0)))
        for making in (O_CREAT, O_TMPFILE):
            made = masked(flags, making, making)
            rules.append(rule([name], None, made, masked(mode, SETUID | SETGID, 0)))
            rules += [rule([name], EPERM, made, masked(mode, bit, bit)) for bit in (SETUID, SETGID)]
    return rules


if __name__ == "__main__":
    sys.exit(main())
