"""Writes docs/reference/improvements.md: what is done better than the predecessor, and the tests that show it.

The points are in tests/fixtures/improvements.toml. A test says which of them it shows by a comment `improves: <id>`
directly above it (see tagged_tests.py). With --check nothing is written. The status is 1 for a tag that names no point
or stands above no test, for a point that no test shows, and, with --check, for a page that is out of date.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import tagged_tests

ROOT = Path(__file__).resolve().parent.parent
POINTS = "tests/fixtures/improvements.toml"
PAGE = "docs/reference/improvements.md"
KEYWORD = "improves"


@dataclass(frozen=True)
class Point:
    """One thing that is better now; `section` is the part of the reference that told of the weakness."""

    id: str
    section: str
    title: str


def read_points(root: Path) -> list[Point]:
    """The points in the order of the file. A double id is a `ValueError`."""
    content = tomllib.loads((root / POINTS).read_text(encoding="utf-8"))
    points = [Point(**entry) for entry in content["point"]]
    ids = [point.id for point in points]
    if double := {id for id in ids if ids.count(id) > 1}:
        raise ValueError(f"{POINTS}: more than once: {', '.join(sorted(double))}")
    return points


def page(points: list[Point], tags: list[tagged_tests.Tag]) -> str:
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
    lines += [f"| {point.section} | {point.title} | {tagged_tests.listed(point.id, tags)} |" for point in points]
    return "\n".join(lines) + "\n"


def main(arguments: list[str], root: Path = ROOT) -> int:
    points, tags = read_points(root), tagged_tests.all_tags(root, KEYWORD)
    problems = list(tagged_tests.findings((point.id for point in points), tags, POINTS))
    problems += tagged_tests.write_page(root, PAGE, page(points, tags), check="--check" in arguments)
    for problem in problems:
        print(problem)
    open_points = sum(problem.startswith("no test shows") for problem in problems)
    tests = len({tag.test for tag in tags if tag.test})
    print(f"improvements: {len(points) - open_points} of {len(points)} points shown, by {tests} tests")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
