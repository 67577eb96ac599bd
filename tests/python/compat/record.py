"""Records a state of the original for the tests: `python record.py PYTHON_OF_THE_ORIGINAL`.

Kept are the files a person wrote, the metadata and the archive, with the home's path as a marker, and what the original
shows of it all. Its other files are left out: their texts are its own, and nothing here depends on them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from compat_state import MARKER, RECORDED, State

KEPT = ("home/.config/terok", "state/core/projects", "state/archive")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="terok-record-") as name:
        root = Path(name)
        state = State(root)
        tasks = state.history(sys.argv[1])
        shutil.rmtree(RECORDED, ignore_errors=True)
        for path in (path for kept in KEPT for path in sorted((root / kept).rglob("*")) if path.is_file()):
            copy = RECORDED / "tree" / path.relative_to(root).as_posix().replace("home/.config", "config", 1)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text().replace(name, MARKER))
        shown = json.dumps({"tasks": tasks, "view": state.view(sys.argv[1])}, indent=1).replace(name, MARKER)
        (RECORDED / "shown.json").write_text(shown + "\n")


if __name__ == "__main__":
    main()
