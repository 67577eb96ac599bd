"""The original that is measured beside ours, in a virtual environment of its own.

`TEROK_ORIGINAL` names one that exists; without it one is made in the cache, once. Where that is not possible the
comparison is left out, and the reason is said: nothing is judged against an original that was not measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "0.8.0"
WHEELS = ("agent-client-protocol==0.10.1", "asyncvarlink==0.3.1", f"terok=={VERSION}")
VARIABLE = "TEROK_ORIGINAL"
_NEWEST = 20
# Our own environment has that version as well once it has adopted the front ends.
_CHECK = (
    "import terok.lib.api; from importlib.metadata import version; from importlib.util import find_spec; "
    f"assert version('terok') == '{VERSION}' and not find_spec('terok_native')"
)


class NotHere(Exception):
    """The original cannot be measured; the text says why."""


def environment(cache: Path) -> Path:
    """The virtual environment of the original; `NotHere` when there is none."""
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else cache / "bench" / f"original-{VERSION}"
    if not given and not (folder / "bin" / "terok").exists():
        _make(folder)
    done = _run(folder / "bin" / "python", "-c", _CHECK)
    if done is not None:
        raise NotHere(f"`{folder}` does not hold the original {VERSION}: {done}")
    return folder


def _make(folder: Path) -> None:
    python = next((found for found in map(shutil.which, _names()) if found and _new_enough(found)), None)
    if python is None:
        raise NotHere(f"it needs Python 3.12 or newer, which is not here; {VARIABLE} can name an environment of it")
    shutil.rmtree(folder, ignore_errors=True)
    reason = _run(python, "-m", "venv", folder)
    reason = reason or _run(folder / "bin" / "python", "-m", "pip", "--no-input", "install", "--quiet", *WHEELS)
    if reason:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotHere(f"its packages cannot be installed: {reason}")


def _names() -> list[str]:
    return [f"python3.{minor}" for minor in range(12, _NEWEST)] + ["python3", sys.executable]


def _new_enough(python: str) -> bool:
    return _run(python, "-c", "import sys; sys.exit(sys.version_info < (3, 12))") is None


def _run(*argv: object) -> str | None:
    """`None`, or why it failed."""
    try:
        done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
