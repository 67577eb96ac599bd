"""Which version of the product this is."""

import os
import re
from pathlib import Path

_DISTRIBUTIONS = ("terok", "terok-rs")


def installed_version() -> str:
    """Return the version of the installed distribution, else that of the source tree, else ``unknown``."""
    from importlib import metadata

    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return _written_version() or "unknown"


def _written_version() -> str | None:
    """Return the version of the ``pyproject.toml`` beside the package."""
    import tomllib

    try:
        text = (_source_root() / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["project"]["version"]
    except (OSError, ValueError, KeyError):
        return None


def _source_root() -> Path:
    return Path(__file__).resolve().parents[4]


def get_version_info() -> tuple[str, str | None]:
    """Return the version, and the branch or commit it was installed or is run from; never raises."""
    import terok

    try:
        version = str(getattr(terok, "__version__", None) or "unknown")
    except Exception:
        version = "unknown"
    try:
        return version, _get_pep610_revision() or _checkout_branch()
    except Exception:
        return version, None


def _get_pep610_revision(dist_name: str | None = None) -> str | None:
    """Return the revision that a distribution was installed from, as its installer recorded it."""
    import json
    from importlib import metadata

    for name in (dist_name,) if dist_name else _DISTRIBUTIONS:
        try:
            record = metadata.distribution(name).read_text("direct_url.json")
            source = json.loads(record)["vcs_info"] if record else {}
        except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
            continue
        for key in ("requested_revision", "commit_id"):
            revision = source.get(key) if isinstance(source, dict) else None
            if isinstance(revision, str) and revision.strip():
                return revision.strip()
    return None


def _checkout_branch() -> str | None:
    """Return the branch of a source checkout, unless a release is checked out."""
    root = _source_root()
    if not (root / "pyproject.toml").is_file() or not (root / ".git").exists():
        return None
    tags = _git("tag", "--points-at", "HEAD").split()
    if any(re.match(r"v\d", tag) for tag in tags):
        return None
    branch = _git("rev-parse", "--abbrev-ref", "HEAD").strip()
    return branch if branch and branch != "HEAD" else None


def _git(*words: str) -> str:
    import subprocess

    try:
        # Within a git hook, variables name another repository.
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        words = ("git", "-C", str(_source_root()), *words)
        done = subprocess.run(words, capture_output=True, text=True, timeout=1, env=env)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def base_version(version: str) -> str:
    """Return the leading ``N.N.N`` of a version, or the version itself."""
    found = re.match(r"\d+\.\d+\.\d+", version)
    return found.group() if found else version


def short_version(version: str) -> str:
    """Return a version without its local part, cut after four parts: ``0.7.4.post4.dev0+5a`` is ``0.7.4.post4``."""
    return ".".join(version.split(".")[:4]).split("+")[0]


def format_version_string(version: str, branch: str | None) -> str:
    """Return ``version`` or ``version [branch]``."""
    return f"{version} [{branch}]" if branch else version
