"""Writes the lock files of what agent images take from npm and PyPI: exact versions with hashes, no addresses.

The recipes name their lock and its packages where they call `terok-locked-npm` and `terok-locked-pip`. Run it after a
version in a recipe changed, or to renew the dependencies of unchanged versions. Needs npm and the registries.

With --check nothing is written and nothing is fetched; the status is 1 when a lock does not fit its recipe.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESOURCES = Path(__file__).resolve().parent.parent / "python" / "terok_executor" / "resources"
LOCKS = RESOURCES / "locks"
#: The oldest interpreter of a supported base image; a recipe may name a newer one.
OLDEST_PYTHON = "3.11"
_VERSION = re.compile(r"(?m)^\s*ARG ([A-Z0-9_]+_VERSION)=(\S+)\s*$")
_CALL = re.compile(r"terok-locked-(npm|pip) ([a-z-]+)((?:\s+(?:\\\n\s*)?(?:--scripts \S+|\"[^\"]+\"))+)")
_PYTHON = re.compile(r"(?m)^\s*# requires-python: (\S+)\s*$")
_HASHED = re.compile(r"^[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^ ]+( ; [^\\]+)? \\$")


@dataclass(frozen=True)
class Lock:
    """One lock file: its kind (`npm` or `pip`), its name, exact versions by package, and the oldest Python."""

    kind: str
    name: str
    packages: dict[str, str]
    python: str

    @property
    def path(self) -> Path:
        return LOCKS / (f"{self.name}.package-lock.json" if self.kind == "npm" else f"{self.name}.requirements.txt")


def locks() -> list[Lock]:
    """Every lock that a recipe asks for."""
    found = []
    for path in [RESOURCES / "templates/l1.cli.Dockerfile.j2", *sorted((RESOURCES / "agents").glob("*.yaml"))]:
        text = path.read_text(encoding="utf-8")
        versions = dict(_VERSION.findall(text))
        python = _PYTHON.search(text)
        for kind, name, arguments in _CALL.findall(text):
            packages = {}
            for specification in re.findall(r'"([^"]+)"', arguments):
                package, _, variable = specification.rpartition("@" if kind == "npm" else "==")
                packages[package] = versions[variable.strip("${}")]
            found.append(Lock(kind, name, packages, python[1] if python else OLDEST_PYTHON))
    return found


def write_npm(lock: Lock) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifest = {"private": True, "dependencies": lock.packages}
        Path(folder, "package.json").write_text(json.dumps(manifest), encoding="utf-8")
        options = ["--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved", "--no-audit"]
        subprocess.run(["npm", "install", "--no-fund", *options], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        content = json.loads(Path(folder, "package-lock.json").read_text(encoding="utf-8"))
    content["name"] = f"terok-{lock.name}"
    content["packages"][""].pop("name", None)
    if missing := drop_missing(content["packages"]):
        content["incomplete"] = missing
        print(f"  the registry does not have {', '.join(missing)}")
    lock.path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def drop_missing(packages: dict[str, dict[str, Any]]) -> list[str]:
    """Take optional packages of other platforms that the registry does not have out of their dependants; their names.

    npm refuses a lock that names packages which it does not hold. The image build goes on without the lock where a
    platform's own package is among them.
    """
    missing = set()
    for entry in packages.values():
        for name in list(entry.get("optionalDependencies", ())):
            if not any(path.endswith(f"node_modules/{name}") for path in packages):
                missing.add(name)
                del entry["optionalDependencies"][name]
    return sorted(missing)


def write_pip(lock: Lock, uv: Path) -> None:
    # The environment that pipx shares between programs has packages of its own; the lock holds them as well.
    wanted = [f"{name}=={version}" for name, version in lock.packages.items()] + ["pip", "setuptools", "wheel"]
    options = ["--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    done = subprocess.run(
        [uv, "pip", "compile", *options, "--python-version", lock.python, "-"],
        input="\n".join(wanted), text=True, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    lock.path.write_text(done.stdout, encoding="utf-8")


def faults(lock: Lock) -> list[str]:
    """Return the faults of a lock file."""
    if not lock.path.is_file():
        return ["is missing"]
    text = lock.path.read_text(encoding="utf-8")
    found = ["names an address"] if "://" in re.sub(r'"(url|homepage)": "[^"]*"', "", text) else []
    return found + (npm_faults(lock, text) if lock.kind == "npm" else pip_faults(lock, text))


def npm_faults(lock: Lock, text: str) -> list[str]:
    packages = json.loads(text)["packages"]
    found = [f"`{path}` has no hash" for path, entry in packages.items() if path and "integrity" not in entry]
    if packages[""]["dependencies"] != lock.packages:
        found.append(f"holds {packages['']['dependencies']}, the recipe wants {lock.packages}")
    return found


def pip_faults(lock: Lock, text: str) -> list[str]:
    lines = text.splitlines()
    entries = [line for line in lines if line and not line.startswith((" ", "#"))]
    found = [f"`{line}` has no hash" for line in entries if not _HASHED.match(line)]
    for name, version in lock.packages.items():
        if not any(line.startswith(f"{name}=={version} ") for line in entries):
            found.append(f"does not hold {name} {version}")
    return found


def main() -> int:
    wanted = locks()
    if "--check" not in sys.argv[1:]:
        LOCKS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            version = next(lock.packages["uv"] for lock in wanted if "uv" in lock.packages)
            pip = [f"{folder}/bin/pip", "install", "--quiet", "--disable-pip-version-check", f"uv=={version}"]
            subprocess.run(pip, check=True)
            for lock in wanted:
                print(f"{lock.path.name}: {', '.join(f'{name} {version}' for name, version in lock.packages.items())}")
                write_npm(lock) if lock.kind == "npm" else write_pip(lock, Path(folder, "bin", "uv"))
    found = [f"{lock.path.name} {fault}" for lock in wanted for fault in faults(lock)]
    known = {lock.path for lock in wanted}
    found += [f"{path.name} belongs to no recipe" for path in LOCKS.glob("*") if path not in known]
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("hint: run `make locks`", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
