#!/usr/bin/env python3
"""Compare Mistral's list of models with the one seen last (~/.vibe/mistral-models.txt).

Exit status 0: nothing to tell (first run, no change, or the list is young enough). 1: something to tell on stdout
(new models; models that Vibe's configuration names and that are gone), or a failure told on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HEADER = "# Models of the Mistral API, one id per line; written by vibe-model-sync."
PUBLIC_API = "https://api.mistral.ai"
TIMEOUT_S = 30


def key(vibe: Path) -> str | None:
    """MISTRAL_API_KEY from the environment, else from Vibe's .env file."""
    if os.environ.get("MISTRAL_API_KEY"):
        return os.environ["MISTRAL_API_KEY"]
    try:
        lines = (vibe / ".env").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        name, _, value = line.removeprefix("export ").partition("=")
        if name.strip() == "MISTRAL_API_KEY" and value.strip().strip("\"'"):
            return value.strip().strip("\"'")
    return None


def api(token: str) -> str:
    """Only the vault can make a request of a phantom key; a real one has no business there."""
    if not token.startswith("terok-p-"):
        return PUBLIC_API
    return f"http://localhost:{os.environ.get('TEROK_VAULT_LOOPBACK_PORT') or '9419'}"


def fetch(token: str) -> list[str]:
    base = api(token)
    request = urllib.request.Request(f"{base}/v1/models", headers={"Authorization": f"Bearer {token}"})
    handlers = [] if base == PUBLIC_API else [urllib.request.ProxyHandler({})]
    with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as answer:
        data = json.load(answer)
    ids = {str(entry["id"]) for entry in data["data"]}
    if not ids:
        raise ValueError("the list is empty")
    return sorted(ids)


def read_cache(path: Path) -> set[str] | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def write_cache(path: Path, models: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write("\n".join([HEADER, *models]) + "\n")
    os.chmod(name, 0o644)
    os.replace(name, path)


def configured_models(places: list[Path]) -> set[str]:
    """Models of the provider `mistral` in the first configuration that is there."""
    try:
        import tomllib
    except ImportError:
        return set()
    for place in places:
        try:
            data = tomllib.loads((place / ".vibe" / "config.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        entries = data.get("models")
        return {
            entry["name"]
            for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)
            and entry.get("provider", "mistral") == "mistral"
        } if isinstance(entries, list) else set()
    return set()


def young(path: Path, seconds: float) -> bool:
    try:
        return 0 <= time.time() - path.stat().st_mtime < seconds
    except OSError:
        return False


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vibe-model-sync", description=__doc__.split("\n\n")[0])
    parser.add_argument("--min-age-seconds", type=float, default=0, metavar="N", help="do nothing if checked since")
    parser.add_argument("--min-age-hours", type=float, default=0, metavar="N", help="the same in hours")
    parser.add_argument("--ack", action="store_true", help="take the new list as seen")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    vibe = Path.home() / ".vibe"
    cache = vibe / "mistral-models.txt"
    if not options.ack and young(cache, max(options.min_age_seconds, options.min_age_hours * 3600)):
        return 0
    token = key(vibe)
    if token is None:
        print(f"vibe-model-sync: no MISTRAL_API_KEY in the environment or in {vibe / '.env'}", file=sys.stderr)
        return 1
    try:
        models = fetch(token)
        seen = read_cache(cache)
        if seen is None or options.ack:
            write_cache(cache, models)
            return 0
        new = sorted(set(models) - seen)
        gone = sorted(configured_models([Path.cwd(), Path.home()]) - set(models))
        if not new and not gone:
            os.utime(cache) if seen == set(models) else write_cache(cache, models)
            return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"vibe-model-sync: the list of models could not be had: {error}", file=sys.stderr)
        return 1
    for title, names in (("New models", new), ("Configured, but no longer offered", gone)):
        if names:
            print(f"{title}: {', '.join(names)}")
    print("Run `vibe-model-sync --ack` when you have seen this.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
