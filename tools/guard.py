"""Guards what no compiler checks: file sizes, module heads, words that do not belong here, test modules of one
name, the extension's stubs.

Prints one line per finding and exits 1 when there is any.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST_FILE = 800
LONGEST_BINDING = 400
LONGEST_BINARY = 30
SOURCE = {".rs", ".py"}
#: Spelled apart so that this file does not find itself.
FORBIDDEN = [
    re.compile(word, re.IGNORECASE)
    for word in (
        "crates" r"\.io/api", "static" r"\.crates", "pypi" r"\.org", "registry" r"\.npmjs", "deb" r"\.debian\.org",
        "/work" "/main", "/work" "/shared", r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bX" r"XX\b",
    )
]  # fmt: skip

#: Files that pytest knows by the folder they lie in.
OWN_FOLDERS = {"conftest.py", "__init__.py"}
#: Names of lints.
ALLOWED = {'todo = "warn"'}


def tracked() -> list[Path]:
    """Files of the project, new ones included."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def sizes(path: Path, lines: list[str]):
    limit = LONGEST_FILE
    if path.parent == ROOT / "src/py":
        limit = LONGEST_BINDING
    elif path.parent == ROOT / "src/bin":
        limit = LONGEST_BINARY
    if path.suffix in SOURCE and len(lines) > limit:
        yield f"{len(lines)} lines, the limit is {limit}"


def heads(path: Path, lines: list[str]):
    if path.suffix == ".rs" and not (lines and lines[0].startswith("//!")):
        yield "does not open with a //! head"


def words(path: Path, lines: list[str]):
    if path.name in {"Cargo.lock", "deny.toml"} or path == Path(__file__).resolve():
        return
    for number, line in enumerate(lines, 1):
        for pattern in FORBIDDEN:
            if pattern.search(line) and line.strip() not in ALLOWED:
                yield f"line {number}: {line.strip()[:80]}"


def twins(paths: list[Path]):
    """Python files of the tests with one name in two folders: pytest imports them by their bare name."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests/python") and path.name not in OWN_FOLDERS:
            if path.name in seen:
                yield f"{path.relative_to(ROOT)}: {seen[path.name].relative_to(ROOT)} has the same name"
            seen[path.name] = path


def stubs():
    """Names, methods and parameters of the extension against its stub."""
    stub = ROOT / "python/terok_native/_lib.pyi"
    try:
        from terok_native import _lib
    except ImportError:
        yield "python/terok_native/_lib: the extension is not installed in this environment"
        return
    declared = shape_of_stub(ast.parse(stub.read_text(encoding="utf-8")).body)
    real = shape_of(_lib)
    for name in sorted({*real, *declared}):
        if name not in declared:
            yield f"python/terok_native/_lib.pyi: `{name}` is missing"
        elif name not in real:
            yield f"python/terok_native/_lib.pyi: `{name}` does not exist"
        elif real[name] is not None and real[name] != declared[name]:
            yield f"python/terok_native/_lib.pyi: `{name}` takes {real[name]}, not {declared[name]}"


def shape_of(owner: object, prefix: str = "") -> dict[str, list[str] | None]:
    """Dotted name to parameter names; ``None`` where the extension does not tell them."""
    found: dict[str, list[str] | None] = {}
    for name in (name for name in vars(owner) if not name.startswith("_")):
        value = getattr(owner, name)
        found[prefix + name] = None
        if isinstance(value, type):
            found |= shape_of(value, f"{name}.")
        elif callable(value):
            found[prefix + name] = list(inspect.signature(value).parameters)
    return found


def shape_of_stub(body: list[ast.stmt], prefix: str = "") -> dict[str, list[str] | None]:
    """The same of a stub; private classes there describe plain data and exist for type checkers only."""
    found: dict[str, list[str] | None] = {}
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found |= {node.name: None} | shape_of_stub(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            found[prefix + node.name] = [argument.arg for argument in taken]
    return found


def main() -> int:
    paths = tracked()
    findings = [*stubs(), *twins(paths)]
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        name = path.relative_to(ROOT)
        findings += [f"{name}: {text}" for check in (sizes, heads, words) for text in check(path, lines)]
    print("\n".join(findings) or "guards: nothing found")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
