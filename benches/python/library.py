"""What `terok.lib.api` costs: beside the original in its own environment, and as projects and tasks grow.

Both implementations work in homes of their own, on state that each wrote itself; theirs and ours take turns within
one run. They run on different interpreters, the original on 3.12 or newer, so what an import costs is taken beyond the
start of the same interpreter. Judged are calls of a process that has made the same call before, as a front end makes
them every two seconds; what the first one takes is said. The homes lie apart on the disk (`scattered`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import library_original
from figures import alternate, median, ratio, run_for_time, say, tell
from library_site import Site, Worker

CACHE = Path(os.environ.get("TEROK_TEST_CACHE") or Path(__file__).parents[2] / ".cache")
OURS = Path(sys.executable)
SIZES = (10, 100, 1000, 10000)
# Of Linux' <linux/fs.h>: two requests and a flag.
GET_FLAGS, SET_FLAGS, SCATTER = 0x80086601, 0x40086602, 0x00020000
PROJECTS, TASKS = 200, 1000
Pair = dict[str, Callable[[], float]]


def main() -> None:
    """The comparison, where the original is here, then growth."""
    with tempfile.TemporaryDirectory(prefix="terok-bench-") as name:
        folder = scattered(Path(name))
        try:
            compare(library_original.environment(CACHE), folder)
        except library_original.NotHere as reason:
            say(f"not compared with the original, and nothing judged of it: {reason}")
        growth(folder)
        stalls(folder)


def scattered(folder: Path) -> Path:
    """Let every directory made in *folder* have a part of the disk of its own, where the file system can; returns it.

    On ext4, making a file looks at each one that was removed from the same part during the last minutes. After tests
    that removed thousands that takes longer than everything else of a new task, of either implementation.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, GET_FLAGS, bytes(4)))
        fcntl.ioctl(descriptor, SET_FLAGS, struct.pack("i", flags | SCATTER))
    os.close(descriptor)
    return folder


def home_in(folder: Path, name: str) -> Path:
    """A new directory; its name decides which part of the disk it gets, and no other run has the same name."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))


def compare(original: Path, folder: Path) -> None:
    """All figures whose bar is a multiple of the original's."""
    interpreters = {"ours": OURS, "theirs": original / "bin" / "python"}
    sites = {name: Site(python, home_in(folder, name)) for name, python in interpreters.items()}
    imports(sites)
    workers = {name: site.worker() for name, site in sites.items()}
    with workers["ours"], workers["theirs"]:
        for worker in workers.values():
            worker("projects", PROJECTS)
        first = {name: worker("list_projects")[0] for name, worker in workers.items()}
        listing = {name: checked(worker, PROJECTS, "list_projects") for name, worker in workers.items()}
        judge(f"list_projects, {PROJECTS} projects", listing, 5, 40, first)
        new = {name: lambda worker=worker: worker("task_new", "p0") for name, worker in workers.items()}
        judge("task_new", new, 20, 20)
        for worker in workers.values():
            worker("fill", "p0", TASKS)
    # Processes of their own, so that their memory is that of this and nothing else.
    workers = {name: site.worker() for name, site in sites.items()}
    with workers["ours"], workers["theirs"]:
        first = {name: worker("get_tasks", "p0")[0] for name, worker in workers.items()}
        memory({name: worker("memory") for name, worker in workers.items()})
        listing = {name: checked(worker, TASKS, "get_tasks", "p0") for name, worker in workers.items()}
        judge(f"get_tasks, {TASKS} tasks", listing, 5, 40, first)
    command_line(original, sites, folder)


def checked(worker: Worker, expected: int, *order: str, at_work: bool = False) -> Callable[[], float]:
    """A call that has to find so many; its time, or only that in which it had a processor."""

    def take() -> float:
        *took, found = worker(*order)
        if found != expected:
            raise SystemExit(f"`{' '.join(order)}` found {found} and not {expected}")
        return float(took[at_work])

    return take


def judge(name: str, pair: Pair, rounds: int, bar: int, first: dict[str, float] | None = None) -> None:
    """How many times faster ours is."""
    times = alternate(pair, rounds)
    share = ratio(times["theirs"], times["ours"])
    ours, theirs = median(times["ours"]), median(times["theirs"])
    against = f"the original, {theirs:.1f} ms"
    tell(name, f"{share:.1f} x ({ours:.2f} ms)", bar=f"{bar} x", against=against, met=share >= bar)
    if first:
        ours, theirs = first["ours"], first["theirs"]
        say(f"{name}, first call of a process: {ours:.1f} ms, original {theirs:.0f} ms ({theirs / ours:.0f} x)")


def imports(sites: dict[str, Site]) -> None:
    """What the import takes beyond the start of its interpreter."""
    programs = {"pass": "pass", "import": "import terok.lib.api"}
    times = alternate(
        {
            f"{name} {program}": lambda site=site, text=text: run_for_time([str(site.python), "-c", text])
            for program, text in programs.items()
            for name, site in sites.items()
        },
        9,
    )
    beyond = {
        name: [a - b for a, b in zip(times[f"{name} import"], times[f"{name} pass"], strict=True)] for name in sites
    }
    # A difference of two starts may be next to nothing, so medians are compared and not pairs.
    ours, theirs = median(beyond["ours"]), median(beyond["theirs"])
    # Below a millisecond it is noise.
    share = theirs / max(ours, 1.0)
    against = f"the original, {theirs:.0f} ms; both beyond `python -c pass`"
    tell("import terok.lib.api", f"{share:.0f} x ({ours:.1f} ms)", bar="20 x", against=against, met=share >= 20)


def memory(kib: dict[str, int]) -> None:
    """Private memory after the list."""
    share = kib["ours"] / kib["theirs"]
    against = f"the original, {kib['theirs'] / 1024:.1f} MiB"
    measured = f"{share:.2f} x ({kib['ours'] / 1024:.1f} MiB)"
    tell(f"memory, {TASKS} tasks listed", measured, bar="0.5 x", against=against, met=share <= 0.5)


def command_line(original: Path, sites: dict[str, Site], folder: Path) -> None:
    """`terok task list` of the stock front end over either library; podman is a stand-in without containers."""
    try:
        adopted = front_end(folder)
    except RuntimeError as error:
        say(f"terok task list: not measured, the front end cannot be adopted: {error}")
        return
    fake = without_containers(folder)
    programs = {"ours": adopted, "theirs": original / "bin" / "terok"}

    def listing(name: str) -> float:
        env = sites[name].env
        os.environ.update(env | {"PATH": f"{fake}:{env['PATH']}"})
        return run_for_time([str(programs[name]), "task", "list", "p1"])

    for site in sites.values():
        with site.worker() as worker:
            worker("task_new", "p1")
            worker("fill", "p1", 20)
    before = dict(os.environ)
    try:
        judge("terok task list, 20 tasks", {name: lambda name=name: listing(name) for name in programs}, 7, 3)
    finally:
        os.environ.clear()
        os.environ.update(before)


def without_containers(folder: Path) -> Path:
    """A directory with a stand-in for a podman that has no containers."""
    fake = folder / "fake"
    fake.mkdir(exist_ok=True)
    (fake / "podman").write_text("#!/bin/sh\ncase \"$*\" in *json*) echo '[]';; esac\n")
    (fake / "podman").chmod(0o755)
    return fake


def front_end(folder: Path) -> Path:
    """The command of the stock front end over our library: adopted here already, or in a copy of the environment."""
    here = OURS.with_name("terok")
    if here.exists():
        return here
    copy = folder / "adopted"
    shutil.copytree(OURS.parents[1], copy, symlinks=True)
    done = subprocess.run(
        [copy / "bin" / OURS.name, "-m", "terok.adopt"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no word about it"])[-1])
    return copy / "bin" / "terok"


def growth(folder: Path) -> None:
    """Time for each item must not grow with their number.

    Long calls share the processor with the machine's other work more often than short ones, so only the time in which
    they had one counts.
    """
    workers: dict[int, Worker] = {}
    for size in SIZES:
        workers[size] = Site(OURS, home_in(folder, f"grown-{size}")).worker()
        workers[size]("projects", size)
        workers[size]("task_new", "p0")
        workers[size]("fill", "p0", size)
    for verb, *arguments in (("list_projects",), ("get_tasks", "p0")):
        calls = {size: checked(worker, size, verb, *arguments, at_work=True) for size, worker in workers.items()}
        linear(verb, calls)
    for worker in workers.values():
        worker.__exit__()


def linear(name: str, calls: dict[int, Callable[[], float]]) -> None:
    """One line of growth."""
    times = alternate({str(size): call for size, call in calls.items()}, 5)
    each = {size: 1e3 * median(times[str(size)]) / size for size in SIZES}
    share = each[10000] / each[100]
    against = "; ".join(f"{size}: {value:.0f} µs each" for size, value in each.items())
    tell(f"{name} of 10 000, an item, to one of 100", f"{share:.2f} x", bar="2 x", against=against, met=share <= 2)


def stalls(folder: Path) -> None:
    """How long an event loop waits at most because of calls beside it; podman is a stand-in.

    With the right to, the process goes before the machine's other work: waiting for a processor in use is not ours.
    What else stops a loop that rests shows in the figure beside it, and the median leaves rare cases of it out.
    """
    site = Site(OURS, home_in(folder, "loop"))
    with site.worker(PATH=f"{without_containers(folder)}:{site.env['PATH']}") as worker:
        worker("projects", 50)
        worker("task_new", "p0")
        worker("fill", "p0", 50)
        worker("started", "p0")
        worker("loop", "p0", 2)
        first = worker.go_first()
        blocks = [worker("loop", "p0", 10) for _ in range(15)]
    longest, at_rest = median([block[0] for block in blocks]), median([block[1] for block in blocks])
    note = "" if first else "; with no right to run before others"
    tell(
        "event loop beside calls, longest pause",
        f"{longest:.1f} ms",
        bar="20 ms",
        against=f"of ten rounds, 50 tasks and projects, median; at rest {at_rest:.1f} ms{note}",
        met=longest <= 20,
    )


if __name__ == "__main__":
    main()
