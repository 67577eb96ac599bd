"""The command: fetch or take the stock wheel, repack it, let pip install it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from terok.adopt import repack, stock

VERSION = "0.8.0"
_EPILOG = "Afterwards terok, terokctl, terok-tui and terok-web start. `pip uninstall terok` takes them away again."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m terok.adopt", description="Install terok's stock TUI and CLI over this library.", epilog=_EPILOG
    )
    parser.add_argument(
        "--from", dest="wheel", type=Path, metavar="WHEEL", help="a wheel of terok that is already here"
    )
    parser.add_argument("--no-deps", action="store_true", help="do not install what the front ends require")
    return parser


def _refuse_a_mixture() -> None:
    """pip removes what a distribution `terok` installed, and with the stock one that would be files of this library."""
    try:
        there = metadata.distribution("terok")
    except metadata.PackageNotFoundError:
        return
    if any(file.parts[:2] == ("terok", "lib") for file in there.files or ()):
        raise SystemExit(
            f"cannot adopt the front ends: terok {there.version} is installed here with a library of its own, and pip "
            "would take this library away with it\n"
            "hint: adopt in another virtual environment, or `pip uninstall terok`, then install terok-rs again with "
            "`--force-reinstall`"
        )


def _pip(*arguments: str) -> None:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    ended = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise SystemExit(
            f"cannot adopt the front ends: pip's `{arguments[0]}` ended with status {ended.returncode}\n"
            "hint: its message is above; a wheel of terok that you fetched elsewhere can be given with --from"
        )


def _fetch(folder: Path) -> Path:
    print(f"fetching terok {VERSION}", flush=True)
    # The stock wheel asks for a newer Python than its front ends need.
    _pip(
        "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--dest", str(folder),
        f"terok=={VERSION}",
    )  # fmt: skip
    return next(folder.glob("terok-*.whl"))


def main(argv: Sequence[str] | None = None) -> None:
    """Adopt the front ends as the arguments say; ``SystemExit`` with the cause and the next step when it fails."""
    given = _parser().parse_args(argv)
    _refuse_a_mixture()
    if find_spec("pip") is None:
        raise SystemExit(
            "cannot adopt the front ends: this Python has no pip\nhint: `python -m ensurepip` gives it one"
        )
    with tempfile.TemporaryDirectory(prefix="terok-adopt-") as name:
        folder = Path(name)
        try:
            found = stock.read(given.wheel or _fetch(folder))
        except stock.NotTheFrontEnds as error:
            raise SystemExit(f"cannot adopt the front ends: {error}") from None
        out = folder / "adopted"
        out.mkdir()
        wheel = repack.write(found, out)
        print(f"installing the front ends of terok {found.version} ({len(found.files)} files)", flush=True)
        _pip("install", "--quiet", "--force-reinstall", "--no-deps", str(wheel))
        if not given.no_deps:
            _pip("install", "--quiet", *found.requirements())
    print("adopted: terok, terokctl, terok-tui and terok-web are ready")
