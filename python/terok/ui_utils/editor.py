"""The user's editor."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path


def _resolve_editor() -> list[str] | None:
    """Return the words of ``$EDITOR`` if its program exists, else a small editor that does."""
    try:
        words = shlex.split(os.environ.get("EDITOR", ""))
    except ValueError:
        print("Warning: EDITOR cannot be used: it has an unbalanced quote", file=sys.stderr)
        words = []
    for candidate in (words, ["nano"], ["vi"]):
        if candidate and shutil.which(candidate[0]):
            return candidate
    return None


def open_in_editor(file_path: Path) -> bool:
    """Open a file in ``$EDITOR``, ``nano`` or ``vi`` and wait; tell whether that ended well."""
    editor = _resolve_editor()
    if editor is None:
        print("No editor found: set EDITOR", file=sys.stderr)
        return False
    try:
        return subprocess.run([*editor, str(file_path)], check=False).returncode == 0
    except OSError as error:
        print(f"Cannot start {editor[0]}: {error}", file=sys.stderr)
        return False
