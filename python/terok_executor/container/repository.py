"""What a repository argument means: a directory on this host, or a URL that git can clone.

Refuses everything git would read as an option or as a remote helper, which can run commands on its own.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_HELPER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9+.-]*::")
_UNSAFE_IN_KEY = re.compile(r"[^A-Za-z0-9._-]+")
_KEY_HASH_CHARS = 12
#: The key is also a scope of the vault, which has 64 characters at most.
_KEY_NAME_CHARS = 64 - 1 - _KEY_HASH_CHARS


def resolve_repo(repo: str) -> tuple[str | None, Path | None]:
    """Return ``(url, None)`` for a URL and ``(None, absolute directory)`` for a local repository.

    Raises:
        SystemExit: the path does not exist, is no directory or cannot be read, or the URL is not acceptable.
    """
    path = Path(repo).expanduser() if repo else Path(".")
    if "\0" not in repo and path.is_dir():
        return None, _readable(path.resolve())
    if repo.startswith("-") or _HELPER.match(repo) or any(c in repo for c in "\0\n\r"):
        raise SystemExit(
            f"cannot use repository {repo!r}: git would not read it as a plain URL\n"
            "hint: give a directory, an https:// or ssh:// URL, or user@host:path"
        )
    if _looks_like_path(repo):
        note = " (there is a file of that name)" if path.is_file() else ""
        raise SystemExit(
            f"cannot use repository `{repo}`: directory `{path.absolute()}` not found{note}\n"
            "hint: give the top directory of a git repository, or a URL"
        )
    return repo, None


def _readable(path: Path) -> Path:
    if not os.access(path, os.R_OK | os.X_OK):
        raise SystemExit(
            f"cannot use repository `{path}`: permission denied\nhint: check the owner and mode of the directory"
        )
    return path


def _looks_like_path(repo: str) -> bool:
    # Every URL has a colon, `git@host:path` included; a path that has one begins like a path.
    return ":" not in repo or repo.startswith(("/", "./", "../", "~"))


def repo_key(url: str) -> str:
    """Return the name under which a URL is mirrored, cached and keyed: its last part, 12 hex digits of its SHA-256.

    Never empty, one plain path component, and a valid scope of the vault.
    """
    base = url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
    digest = hashlib.sha256(url.encode()).hexdigest()[:_KEY_HASH_CHARS]
    name = _UNSAFE_IN_KEY.sub("-", base)[:_KEY_NAME_CHARS].lstrip("-._").rstrip("-.")
    return f"{name or 'repo'}-{digest}"
