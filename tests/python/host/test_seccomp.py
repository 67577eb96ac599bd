"""Our seccomp profiles in real containers: which calls are refused, and that nothing else is."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
import terok_sandbox
from lane import LANES
from product_site import ProductSite

PROBE = Path(__file__).parents[2] / "fixtures/seccomp/probe.py"
PROFILES = Path(terok_sandbox.__file__).parent / "resources/seccomp"
PODMANS = Path("/usr/share/containers/seccomp.json")

PROBED = """
(ROOT / "w/probe.py").write_text(PROBE)
(ROOT / "w").chmod(0o777)
# The interpreter is the host's: the small image has none. Not as a volume, whose labels would change.
INTERPRETER = ("--mount", "type=bind,src=/usr,dst=/host/usr,ro=true")
LOADER = "/host" + os.path.realpath("/lib64/ld-linux-x86-64.so.2")
PYTHON = (LOADER, "--library-path", "/host/usr/lib/x86_64-linux-gnu:/host/usr/lib64", "/host/usr/bin/python3")
podman5 = not podman("--version").stdout.startswith("podman version 4")
box = Sandbox(cfg)
told = {}
for kind, more in (
    ("standard", {}), ("restricted", {"unrestricted": False}), ("nested", {"extra_args": ("--security-opt", "label=nested")}),
):
    # Podman 5 looks for SELinux's file system then, and fails without one.
    if kind == "nested" and podman5 and not os.path.exists("/sys/fs/selinux"): continue
    more = more | {"extra_args": (*INTERPRETER, *more.get("extra_args", ())), "allow_dangerous_mounts": (Path("/usr"),)}
    work = (VolumeSpec(ROOT / "w", "/workspace"),)
    box.run(RunSpec("lane-seccomp", IMAGE, {"PYTHONHOME": "/host/usr"}, work, (*PYTHON, "/workspace/probe.py", "/workspace"), ROOT, **more))
    box.wait_for_exit("lane-seccomp", 60)
    done = podman("logs", "lane-seccomp")
    try: told[kind] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError): told[kind] = done.stdout + done.stderr
    box.stop(["lane-seccomp"])
    for made in (ROOT / "w").iterdir(): made.name == "probe.py" or made.unlink()
tell(told)
"""

#: What the standard profile does not let through; everything else that the probe tries works there.
STANDARD = {
    **dict.fromkeys(("unshare user", "unshare user, high", "unshare user and mount"), "EPERM"),
    **dict.fromkeys(("clone user", "clone user, high"), "EPERM"),
    "clone3": "ENOSYS",
    "openat2": "EFAULT",  # reached the kernel
    "socket netfilter": "EPROTONOSUPPORT",
    **dict.fromkeys(("socket audit", "socket audit, high"), "EINVAL"),
    **dict.fromkeys(("socket vsock", "socket vsock, high", "socket alg", "socket packet"), "EAFNOSUPPORT"),
    **dict.fromkeys(("add_key", "request_key", "keyctl", "modify_ldt", "io_uring_setup"), "ENOSYS"),
    **dict.fromkeys(("mount", "pivot_root", "fsopen", "setns", "bpf", "perf_event_open", "userfaultfd"), "EPERM"),
}
MAKING = ("chmod", "fchmod", "fchmodat", "creat", "open", "openat", "openat nameless", "mknod", "mknodat")
RESTRICTED = {
    **STANDARD,
    "openat2": "ENOSYS",
    **{f"{name} {mode}": "EPERM" for name in MAKING for mode in ("2755", "4755", "4755, high")},
}
#: Calls that a container engine needs reach the kernel, which refuses the probe's arguments.
REACHED = ("EFAULT", "EINVAL", "EPERM")


# holds: seccomp-profile
# holds: no-setuid-files
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the probe knows the numbers of x86-64")
@pytest.mark.parametrize("lane", ["rootless", "rootless-runc", "podman5"])
def test_refused_calls(lane: str, lane_folder: Path) -> None:
    site = ProductSite(LANES[lane].require(), lane_folder).prepare()
    told = site.tell(f"PROBE = {PROBE.read_text()!r}\n{PROBED}")
    refused = {kind: {name: word for name, word in found.items() if word != "ok"} for kind, found in told.items()}
    assert refused["standard"] == STANDARD
    assert refused["restricted"] == RESTRICTED
    nested = refused.get("nested")
    if nested is None:
        return
    assert not [name for name in ("unshare user", "clone user", "unshare user and mount") if name in nested]
    assert nested["keyctl"] in REACHED and nested["mount"] in REACHED
    for name in ("socket vsock, high", "socket audit, high", "bpf", "io_uring_setup", "userfaultfd"):
        assert nested[name] == STANDARD[name]


def always(profile: dict[str, Any], action: str) -> set[str]:
    rules = [rule for rule in profile["syscalls"] if rule["action"] == action and not rule.get("args")]
    return {name for rule in rules if action != "SCMP_ACT_ALLOW" or not rule.get("includes") for name in rule["names"]}


# holds: seccomp-profile
@pytest.mark.parametrize("kind", ["standard", "restricted", "nested"])
def test_a_profile_allows_nothing_that_podmans_own_refuses(kind: str) -> None:
    if not PODMANS.exists():
        pytest.skip("podman's default profile is not installed")
    ours, podmans = json.loads((PROFILES / f"{kind}.json").read_text()), json.loads(PODMANS.read_text())
    refused = always(podmans, "SCMP_ACT_ERRNO") - always(podmans, "SCMP_ACT_ALLOW")
    # Podman allows `chroot` to containers with its capability, which ours have.
    assert always(ours, "SCMP_ACT_ALLOW") & refused <= {"chroot"}
    assert ours["defaultAction"] == "SCMP_ACT_ERRNO" and not any(arch["subArchitectures"] for arch in ours["archMap"])
    operators = {arg["op"] for rule in ours["syscalls"] for arg in rule["args"]}
    assert operators == {"SCMP_CMP_MASKED_EQ"}, "the whole register is never compared"
