"""PEP 517 backend: maturin, plus the supervisor's executables, which maturin alone would leave out of the wheel.

Every hook is maturin's own. Before a wheel is built the executables are compiled with the same profile and copied into
the package; a missing one fails the build, so that no wheel can exist without its supervisor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import maturin
from maturin import (  # noqa: F401
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "python" / "terok_native" / "bin"
PROGRAMS = ("terok-supervisor", "terok-supervisord")


def build_supervisor(profile: str = "release") -> Path:
    """Compile the supervisor and copy its executables into the package; return their folder."""
    command = ["cargo", "build", "--locked", "--profile", profile]
    command += [word for name in PROGRAMS for word in ("--bin", name)]
    command += ["--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    artifacts = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    executables = {Path(a["executable"]).name: a["executable"] for a in artifacts if a.get("executable")}
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        if name not in executables:
            raise SystemExit(f"cargo built no `{name}`; the wheel would be useless without it")
        shutil.copy2(executables[name], TARGET / name)
        (TARGET / name).chmod(0o755)
    return TARGET


def _profile() -> str:
    return os.environ.get("TEROK_BUILD_PROFILE", "release")


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Build a wheel that holds the extension and the supervisor."""
    build_supervisor(_profile())
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """Build an editable wheel; the supervisor lies in the source tree, where the package is imported from."""
    build_supervisor(_profile())
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


if __name__ == "__main__":
    print(build_supervisor(_profile()))
