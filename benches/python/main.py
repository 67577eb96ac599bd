"""`make bench`: runs all parts, prints the table, ends with status 1 when a bar is missed.

Everything is measured on the installed wheel. Root gets the private host of tests/host for what needs containers, run
there as the unprivileged user; others need their own rootless podman and use a home of the benchmark's own. Memory of
supervisors can be read by root alone and is left out for others, with a word about it.
"""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
import time
from pathlib import Path

from figures import Figure, told

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
HOST = ROOT / "tests" / "host"
CACHE = Path(os.environ.get("TEROK_TEST_CACHE") or ROOT / ".cache")
CONTAINERS = (
    '"$0/tests/host/busybox-image" && cd "$0/benches/python" && "$1" -u starting.py && "$1" -u launching.py && '
    '"$1" -u library_states.py'
)


def main() -> None:
    """Run the parts one after another: they would disturb each other."""
    compile_packages()
    figures: list[Figure] = []
    failed = []
    parts = {
        "vault": ["cargo", "bench", "--locked", "--quiet", "-p", "terok-vault", "--bench", "vault"],
        "broker": ["cargo", "bench", "--locked", "--quiet", "-p", "terok-broker", "--bench", "broker"],
        "signer": ["cargo", "bench", "--locked", "--quiet", "-p", "terok-signer", "--bench", "signer"],
        "gate": ["cargo", "bench", "--locked", "--quiet", "-p", "terok-gate", "--bench", "gate"],
        "firewall": ["cargo", "bench", "--locked", "--quiet", "-p", "terok-egress", "--bench", "firewall"],
        "supervisor and hooks": [sys.executable, "-u", str(HERE / "supervising.py")],
        "projects and tasks": [sys.executable, "-u", str(HERE / "library.py")],
        "start-up and launches": with_containers(),
    }
    for name, argv in parts.items():
        began = time.monotonic()
        print(f"==> {name}", flush=True)
        found, code = run_part(argv, environment(name))
        figures += found
        # The broker's part says with its status that it missed a bar; its figures say so as well.
        if code and not (found and any(not figure.met for figure in found)):
            failed.append(f"{name}: it ended with status {code}")
        print(f"    ({time.monotonic() - began:.0f} s)", flush=True)
    raise SystemExit(conclude(figures, failed))


def compile_packages() -> None:
    """Byte code as an installer leaves it: whoever measures may not be able to write it."""
    import terok_executor

    for package in Path(terok_executor.__file__).parents[1].glob("terok*"):
        compileall.compile_dir(package, quiet=2)


def with_containers() -> list[str]:
    """The container part, as the unprivileged user."""
    script = ["bash", "-c", CONTAINERS, str(ROOT), sys.executable]
    if os.geteuid() == 0:
        return [str(HOST / "with-test-host"), "--net", str(HOST / "as-tester"), *script]
    return script


def environment(part: str) -> dict[str, str]:
    """Containers of an ordinary user live in a home of the benchmark's own."""
    env = dict(os.environ, TEROK_BENCH_FIGURES="1")
    if part == "start-up and launches" and os.geteuid() != 0:
        home = CACHE / "bench" / "home"
        home.mkdir(parents=True, exist_ok=True)
        env["HOME"] = str(home)
    return env


def run_part(argv: list[str], env: dict[str, str]) -> tuple[list[Figure], int]:
    """Pass a part's lines on and keep its figures; its exit status."""
    figures = []
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            figure = told(line)
            if figure is None:
                print(line, end="", flush=True)
                continue
            figures.append(figure)
            print(f"    {figure.name}: {figure.measured}  (bar {figure.bar})", flush=True)
    return figures, process.returncode


def conclude(figures: list[Figure], failed: list[str]) -> int:
    """The table, then what is wrong; the exit status."""
    print(f"\n{'Figure':<44} {'Bar':<24} {'Measured':<46} {'':<7} Compared with")
    for figure in figures:
        verdict = "met" if figure.met else "MISSED"
        print(f"{figure.name:<44} {figure.bar:<24} {figure.measured:<46} {verdict:<7} {figure.against}")
    missed = [figure for figure in figures if not figure.met]
    for figure in missed:
        print(f"missed: {figure.name}: bar {figure.bar}, measured {figure.measured}", file=sys.stderr)
    for text in failed:
        print(f"failed: {text}", file=sys.stderr)
    if not missed and not failed:
        print("all bars met")
    return 1 if missed or failed else 0


if __name__ == "__main__":
    main()
