"""The live states of two hundred containers: what the library takes beyond the one call of podman that it makes.

The containers are real and have never been started. Podman's own time varies more than what is added to it, so both
take turns and the median of the shares is judged.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import alternate, median, ratio, run_for_time, say, tell
from library_site import Site

IMAGE = "localhost/busybox:test"
CONTAINERS, ROUNDS = 200, 15
PODMAN = shutil.which("podman") or "podman"
RECORDER = '#!/bin/sh\nprintf "%s\\0" "$@" > {calls}/$$\nexec {podman} "$@"\n'


def main() -> None:
    """Two hundred tasks with a container each, in a home of their own; podman's store is that of this user."""
    with tempfile.TemporaryDirectory(prefix="terok-bench-") as name:
        folder = Path(name)
        site = Site(Path(sys.executable), folder / "site", own_podman=False)
        with site.worker() as worker:
            worker("projects", 1)
            worker("task_new", "p0")
            worker("fill", "p0", CONTAINERS)
            worker("started", "p0")
            names = worker("names", "p0")
        create(names)
        try:
            measure(site, asked(site, folder))
        finally:
            subprocess.run([PODMAN, "rm", "-f", "-t", "0", *names], check=True, stdout=subprocess.DEVNULL)


def create(names: list[str]) -> None:
    """Containers that are there and do not run."""
    for name in names:
        subprocess.run([PODMAN, "create", "--name", name, IMAGE, "true"], check=True, stdout=subprocess.DEVNULL)


def asked(site: Site, folder: Path) -> list[list[str]]:
    """The argument lists of every call of podman in one question, recorded on the way."""
    calls, recorder = folder / "calls", folder / "recorder"
    calls.mkdir()
    recorder.mkdir()
    (recorder / "podman").write_text(RECORDER.format(calls=calls, podman=PODMAN))
    (recorder / "podman").chmod(0o755)
    with site.worker(PATH=f"{recorder}:{site.env['PATH']}") as worker:
        worker("states", "p0")
        for call in calls.iterdir():
            call.unlink()
        worker("states", "p0")
    return [call.read_text().split("\0")[:-1] for call in calls.iterdir()]


def measure(site: Site, calls: list[list[str]]) -> None:
    """One call, and little beside it."""
    with site.worker() as worker:

        def ours() -> float:
            took, _, found = worker("states", "p0")
            if found != CONTAINERS:
                raise SystemExit(f"{found} of {CONTAINERS} containers were found")
            return float(took)

        times = alternate({"podman": lambda: run_for_time([PODMAN, *calls[0]]), "ours": ours}, ROUNDS)
    share, base = ratio(times["ours"], times["podman"]), median(times["podman"])
    say(f"the question: podman {' '.join(calls[0])}")
    tell(
        f"states of {CONTAINERS} containers",
        f"{share:.2f} x, {len(calls)} call{'s' * (len(calls) != 1)}",
        bar="1.2 x, 1 call",
        against=f"the same call of podman, {base:.0f} ms",
        met=share <= 1.2 and len(calls) == 1,
    )


if __name__ == "__main__":
    main()
