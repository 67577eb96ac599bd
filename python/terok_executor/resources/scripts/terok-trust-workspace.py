#!/usr/bin/env python3
"""Add a folder to the `trusted` list of Vibe's trusted_folders.toml: terok-trust-workspace.py PATH FILE.

The file belongs to the user and to other tasks as well, so its text is edited, not written anew: comments, order and
unknown keys stay. A file that is not valid TOML is left as it is. The new content replaces the old in one step.
The caller holds the lock. Exit status 0 when PATH is trusted afterwards (or no TOML reader is there), else 1 or 2.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python before 3.11: better no trust than a damaged file
    sys.exit(0)


def quoted(text: str) -> str:
    """TOML's basic strings escape like JSON's, except for DEL and for pairs of surrogates."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def top_level_end(text: str) -> int:
    """Offset of the first table header; keys written before it belong to the top level."""
    for match in re.finditer(r"(?m)^[ \t]*\[", text):
        try:
            tomllib.loads(text[: match.start()])
        except tomllib.TOMLDecodeError:
            continue  # a bracket inside an array or a long string
        return match.start()
    return len(text)


def with_key(text: str, key: str, value: str) -> str:
    """`text` with a new top-level line."""
    end = top_level_end(text)
    head = text[:end]
    if head and not head.endswith("\n"):
        head += "\n"
    return f"{head}{key} = {value}\n{text[end:]}"


def with_item(text: str, key: str, item: str) -> str | None:
    """`text` with `item` put first into the array `key`, or None if the array is written in an unusual way."""
    head = text[: top_level_end(text)]
    for match in re.finditer(rf"(?m)^[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=[ \t]*\[", head):
        changed = f"{text[: match.end()]}{quoted(item)}, {text[match.end() :]}"
        before, after = tomllib.loads(text), parsed(changed)
        if after == {**before, key: [item, *before[key]]}:
            return changed
    return None


def parsed(text: str) -> dict | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def trusting(text: str, path: str) -> str | None:
    """The text of the file with `path` trusted, or None if it cannot be had without loss."""
    data = parsed(text)
    if data is None or not all(isinstance(data.get(key, []), list) for key in ("trusted", "untrusted")):
        return None
    if "trusted" not in data:
        text = with_key(text, "trusted", f"[{quoted(path)}]")
    elif path not in data["trusted"]:
        changed = with_item(text, "trusted", path)
        if changed is None:
            return None
        text = changed
    if "untrusted" not in data:
        text = with_key(text, "untrusted", "[]")
    return text


def replace(file: Path, text: str) -> None:
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(name, mode)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise


def main(argv: list[str]) -> int:
    if len(argv) != 3:
        print("usage: terok-trust-workspace.py PATH FILE", file=sys.stderr)
        return 2
    path, file = argv[1], Path(argv[2])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        old = file.read_text(encoding="utf-8") if file.exists() else ""
        new = trusting(old, path)
        if new is None:
            print(f"{file}: not valid TOML or not a list of folders, left unchanged", file=sys.stderr)
            return 1
        if new != old:
            replace(file, new)
    except (OSError, UnicodeDecodeError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
