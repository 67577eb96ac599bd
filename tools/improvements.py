"""Writes docs/reference/improvements.md: what is done better than the predecessor, and the tests that show it.

The points are in tests/fixtures/improvements.toml. A test says which of them it shows by a comment `improves: <id>`
(several ids apart by blanks) directly above it; attributes, decorators and other comments may stand between. With
--check nothing is written. The status is 1 for a tag that names no point or stands above no test, for a point that no
test shows, and, with --check, for a page that is out of date.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POINTS = "tests/fixtures/improvements.toml"
PAGE = "docs/reference/improvements.md"
#: Where tests live. Vendored or generated trees have none.
SOURCES = ("src/**/*.rs", "tests/*.rs", "tests/python/**/*.py")
TAG = re.compile(r"^\s*(?://|#)\s*improves:\s*(?P<ids>\S.*?)\s*$")
RUST_FUNCTION = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?(?:async )?fn (?P<name>\w+)")
RUST_BETWEEN = re.compile(r"^\s*(?://|#\[|$)")
RUST_TEST = re.compile(r"#\[(?:\w+::)*test\b")


@dataclass(frozen=True)
class Point:
    """One thing that is better now; `section` is the part of the reference that told of the weakness."""

    id: str
    section: str
    title: str


@dataclass(frozen=True)
class Tag:
    """A tag line: the ids it names, and the test below it, or nothing."""

    place: str
    ids: tuple[str, ...]
    test: str | None


def read_points(root: Path) -> list[Point]:
    """The points in the order of the file. A double id is a `ValueError`."""
    content = tomllib.loads((root / POINTS).read_text(encoding="utf-8"))
    points = [Point(**entry) for entry in content["point"]]
    ids = [point.id for point in points]
    if double := {id for id in ids if ids.count(id) > 1}:
        raise ValueError(f"{POINTS}: more than once: {', '.join(sorted(double))}")
    return points


def rust_test(lines: list[str], tag: int) -> str | None:
    """The test function below line `tag`; a function without a test attribute is none."""
    above = tag - 1
    while above >= 0 and lines[above].lstrip().startswith("#["):
        above -= 1
    for number in range(tag + 1, len(lines)):
        if function := RUST_FUNCTION.match(lines[number]):
            head = "\n".join(lines[above + 1 : number])
            return function["name"] if RUST_TEST.search(head) else None
        # The closing line of an attribute that spans several is the only other thing that may come.
        if not RUST_BETWEEN.match(lines[number]) and not lines[number].rstrip().endswith((",", "]", "(")):
            return None
    return None


def python_tests(text: str) -> dict[int, str]:
    """For each line on which a test's decorators or its `def` begin, counted from 0, the test's name."""
    found = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for line in (node.lineno, *(decorator.lineno for decorator in node.decorator_list)):
                    found[line - 1] = prefix + node.name

    visit(ast.parse(text).body, "")
    return found


def python_test(lines: list[str], starts: dict[int, str], tag: int) -> str | None:
    """The test that begins below line `tag`, other comments skipped."""
    for number in range(tag + 1, len(lines)):
        if number in starts:
            return starts[number]
        if not lines[number].lstrip().startswith("#"):
            return None
    return None


def tokens_of(text: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(text).readline)


def tags_of(name: str, text: str) -> Iterator[Tag]:
    """The tags of one file; `name` is its path in the repository."""
    lines = text.splitlines()
    numbers = [(number, found) for number, line in enumerate(lines) if (found := TAG.match(line))]
    if numbers and name.endswith(".py"):
        # A text that looks like a tag, in a test of this tool say, is none.
        comments = {token.start[0] - 1 for token in tokens_of(text) if token.type == tokenize.COMMENT}
        numbers = [(number, found) for number, found in numbers if number in comments]
    if not numbers:
        return
    starts = python_tests(text) if name.endswith(".py") else {}
    for number, found in numbers:
        test = python_test(lines, starts, number) if name.endswith(".py") else rust_test(lines, number)
        yield Tag(f"{name}:{number + 1}", tuple(found["ids"].split()), test and f"{name}::{test}")


def all_tags(root: Path) -> list[Tag]:
    """The tags of every test file, in the order of their names."""
    files = sorted({path for pattern in SOURCES for path in root.glob(pattern)})
    return [tag for path in files for tag in tags_of(path.relative_to(root).as_posix(), path.read_text("utf-8"))]


def findings(points: list[Point], tags: list[Tag]) -> Iterator[str]:
    """One line for each thing that is not in order."""
    known = {point.id for point in points}
    shown = {id for tag in tags if tag.test for id in tag.ids}
    for tag in tags:
        if tag.test is None:
            yield f"{tag.place}: no test below the tag"
        yield from (f"{tag.place}: `{id}` is not in {POINTS}" for id in tag.ids if id not in known)
    yield from (f"no test shows `{point.id}`: {point.title}" for point in points if point.id not in shown)


def page(points: list[Point], tags: list[Tag]) -> str:
    """The page's text."""
    lines = [
        "# Improvements",
        "",
        "Weak points of the predecessor, what holds here instead, and the tests that show it. Written by",
        "`tools/improvements.py` from `improves:` tags above the tests.",
        "",
        "| Section | Here | Tests |",
        "|---|---|---|",
    ]
    for point in points:
        tests = sorted({tag.test for tag in tags if tag.test and point.id in tag.ids})
        listed = "<br>".join(f"`{test}`" for test in tests) or "none"
        lines.append(f"| {point.section} | {point.title} | {listed} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str], root: Path = ROOT) -> int:
    points, tags = read_points(root), all_tags(root)
    problems = list(findings(points, tags))
    text, target = page(points, tags), root / PAGE
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        if "--check" in arguments:
            problems.append(f"{PAGE} is out of date; tools/improvements.py writes it")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    for problem in problems:
        print(problem)
    open_points = sum(problem.startswith("no test shows") for problem in problems)
    tests = len({tag.test for tag in tags if tag.test})
    print(f"improvements: {len(points) - open_points} of {len(points)} points shown, by {tests} tests")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
