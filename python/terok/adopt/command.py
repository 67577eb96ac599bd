"""The command: fetch or take the stock wheel, repack it, let pip install it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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


def _pip(*arguments: str) -> None:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    ended = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise SystemExit(
            f"cannot adopt the front ends: `pip {arguments[0]}` ended with status {ended.returncode}\n"
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
