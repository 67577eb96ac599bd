"""What this host needs for rootless containers, looked at one thing at a time; nothing is changed.

Each check is a pair of a label and a function that gives a severity (``ok``, ``warn``, ``missing``, ``fail``) and a
text. The text of a failure holds the next step, as a line to be typed where there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from terok_util.shell import command_line
from terok_util.tty import clean_text

Finding = tuple[str, str]

OLDEST_PODMAN = (4, 3)
"""The first version whose ``keep-id`` takes the ids to keep."""
_ETC = Path("/etc")
_ENOUGH = 65536
_FIRST = 100000
_LIMIT = 10.0
_HIDING = ("CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE")


def checks() -> list[tuple[str, Callable[[], Finding]]]:
    """Returns the checks that apply here, in the order of the report."""
    found: list[tuple[str, Callable[[], Finding]]] = [("podman", check_podman), ("git", check_git)]
    found.insert(1, ("podman's holes", check_advisories))
    if os.geteuid() != 0:
        found.append(("subordinate ids", check_subordinate_ids))
    if any(os.environ.get(name) for name in _HIDING):
        found.append(("podman's settings", check_settings))
    return found


def check_podman() -> Finding:
    """Podman is installed, answers, and is not too old."""
    program = shutil.which("podman")
    if program is None:
        return "missing", "runs the containers; install the package podman"
    version = _podman_version(program)
    if isinstance(version, str):
        return "fail", version
    text = ".".join(str(number) for number in version)
    if version[:2] < OLDEST_PODMAN:
        return "fail", f"{text} at {program} is too old: 4.3 or newer is needed"
    return "ok", f"{text}, {program}"


def check_advisories() -> Finding:
    """The installed podman has no known holes."""
    from terok_sandbox import advisories

    program = shutil.which("podman")
    version = _podman_version(program) if program else "podman is missing"
    if isinstance(version, str):
        return "warn", f"not checked: {version}"
    clean, text = advisories.report(version)
    return ("ok" if clean else "warn"), text


def _podman_version(program: str) -> tuple[int, ...] | str:
    """The numbers of podman's version, or why they cannot be had."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", timeout=_LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not answer: {error}"
    version = version_in(done.stdout)
    if done.returncode != 0 or version is None:
        said = (done.stderr or done.stdout).strip().splitlines()
        why = clean_text(said[-1]) if said else f"status {done.returncode}"
        return f"{program} does not say its version: {why}"
    return version


def version_in(text: str) -> tuple[int, ...] | None:
    """Returns the numbers of the last word of ``podman --version``; ``None`` when it is no version."""
    word = text.split()[-1] if text.split() else ""
    numbers = word.split("-")[0].split("+")[0].split(".")
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers):
        return None
    return tuple(int(number) for number in numbers)


def check_git() -> Finding:
    """Git is installed."""
    program = shutil.which("git")
    return ("ok", program) if program else ("missing", "mirrors repositories; install the package git")


def check_subordinate_ids() -> Finding:
    """The user has ids to give to containers, and the programs that may hand them out."""
    absent = [name for name in ("newuidmap", "newgidmap") if shutil.which(name) is None]
    if absent:
        return "missing", f"{' and '.join(absent)}; install the package uidmap (shadow-utils on Fedora)"
    user = _user()
    short = [kind for kind in ("subuid", "subgid") if _count(kind, user) < _ENOUGH]
    if not short:
        return "ok", f"{_count('subuid', user)} for {user}"
    first = _free()
    span = f"{first}-{first + _ENOUGH - 1}"
    options = [word for kind in short for word in (f"--add-{kind}s", span)]
    files = " and ".join(f"/etc/{kind}" for kind in short)
    fix = f"{command_line('sudo', 'usermod', *options, user)} && podman system migrate"
    return "fail", f"no range of {_ENOUGH} for {user} in {files}\n{fix}"


def check_settings() -> Finding:
    """Variables that make podman read other settings than the ones our hooks are listed in."""
    named = [f"{name}={os.environ[name]}" for name in _HIDING if os.environ.get(name)]
    return "warn", (
        f"{', '.join(named)} in the environment\n"
        "podman reads that file instead of the usual ones: unset the variable, or list the hooks directory there"
    )


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _ranges(kind: str) -> list[tuple[str, int, int]]:
    """Owner, first id and number of ids of every line that makes sense."""
    found = []
    try:
        lines = (_ETC / kind).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner and first.isdigit() and count.isdigit():
            found.append((owner, int(first), int(count)))
    return found


def _count(kind: str, user: str) -> int:
    """How many subordinate ids the user has: by the host's name service where it can be asked, else by the file."""
    listed = sum(count for owner, _, count in _ranges(kind) if owner in (user, str(os.geteuid())))
    program = shutil.which("getsubids")
    if listed or program is None:
        return listed
    words = [program, user] if kind == "subuid" else [program, "-g", user]
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    lasts = [line.split()[-1] for line in done.stdout.splitlines() if line.split()]
    return sum(int(last) for last in lasts if last.isdigit()) if done.returncode == 0 else 0


def _free() -> int:
    """The first id behind all ranges that are given away."""
    ends = [first + count for kind in ("subuid", "subgid") for _, first, count in _ranges(kind)]
    return max([_FIRST, *ends])
