"""How long the package takes to import, and the command line to answer; `list` as well right after a change."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from figures import alternate, difference, median, ratio, run_for_time, say, tell

ROUNDS = 30
CHANGES = 8
PYTHON = sys.executable
CLI = str(Path(sys.executable).with_name("terok-executor"))
IMAGE = "localhost/busybox:test"


def main() -> None:
    """Measure with one labelled container running."""
    podman = shutil.which("podman") or "podman"
    start = [podman, "run", "-d", "--name", "bench-list", "--label", "ai.terok.managed=executor", IMAGE, "sleep", "600"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    try:
        measure(podman)
    finally:
        subprocess.run([podman, "rm", "-f", "-t", "0", "bench-list"], check=True, stdout=subprocess.DEVNULL)


def measure(podman: str) -> None:
    """The three figures; the parts of `list` that belong to podman."""
    ps = [podman, "ps", "-a", "--filter", "label=ai.terok.managed=executor", "--format", "json", "--no-trunc"]
    time.sleep(0.5)
    times = alternate(
        {
            "pass": lambda: run_for_time([PYTHON, "-c", "pass"]),
            "import": lambda: run_for_time([PYTHON, "-c", "import terok_executor"]),
            "help": lambda: run_for_time([CLI, "--help"]),
            "list": lambda: run_for_time([CLI, "list"]),
            "podman ps": lambda: run_for_time(ps),
        },
        ROUNDS,
    )
    base = times["pass"]
    for name, taken in times.items():
        say(f"{name:<12} median {median(taken):6.1f} ms, least {min(taken):6.1f} ms")
    against = f"`python -c pass`, {median(base):.1f} ms"
    beyond = difference(times["import"], base)
    tell("import terok_executor, beyond", f"{beyond:.1f} ms", bar="25 ms", against=against, met=beyond <= 25)
    for verb in ("help", "list"):
        share = ratio(times[verb], base)
        name = "terok-executor " + ("--help" if verb == "help" else "list")
        tell(name, f"{share:.1f} x ({median(times[verb]):.0f} ms)", bar="4 x", against=against, met=share <= 4)
    after_a_change(podman, ps)


def after_a_change(podman: str, ps: list[str]) -> None:
    """`list` when podman has to be asked again: what of it is podman's own."""
    whole, own = [], []
    for _ in range(CHANGES):
        subprocess.run([podman, "exec", "bench-list", "true"], check=True)
        time.sleep(0.2)
        asked = run_for_time(ps)
        whole.append(run_for_time([CLI, "list"]))
        own.append(whole[-1] - asked)
    say(
        f"list, the first time after a container changed: {median(whole):.1f} ms; without its `podman ps` "
        f"{median(own):.1f} ms"
    )


if __name__ == "__main__":
    main()
