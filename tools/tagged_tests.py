"""Finds tests by the tag above them: `<keyword>: <id> [<id> ...]` in a comment directly above a Rust or pytest test.

Attributes, decorators and other comments may stand between the tag and the test. Pages that list tests
(`improvements.py`, `security.py`) are generated from these tags.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Where tests live. Vendored or generated trees have none.
SOURCES = ("src/**/*.rs", "tests/*.rs", "tests/python/**/*.py")
RUST_FUNCTION = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?(?:async )?fn (?P<name>\w+)")
RUST_BETWEEN = re.compile(r"^\s*(?://|#\[|$)")
RUST_TEST = re.compile(r"#\[(?:\w+::)*test\b")


@dataclass(frozen=True)
class Tag:
    """A tag line: its place, the ids it names, and the test below it, or nothing."""

    place: str
    ids: tuple[str, ...]
    test: str | None


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


def tags_of(name: str, text: str, keyword: str) -> Iterator[Tag]:
    """The tags of one file; `name` is its path in the repository."""
    lines = text.splitlines()
    pattern = re.compile(rf"^\s*(?://|#)\s*{keyword}:\s*(?P<ids>\S.*?)\s*$")
    numbers = [(number, found) for number, line in enumerate(lines) if (found := pattern.match(line))]
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


def all_tags(root: Path, keyword: str) -> list[Tag]:
    """The tags of every test file, in the order of their names."""
    files = sorted({path for pattern in SOURCES for path in root.glob(pattern)})
    return [
        tag for path in files for tag in tags_of(path.relative_to(root).as_posix(), path.read_text("utf-8"), keyword)
    ]


def findings(known: Iterable[str], tags: list[Tag], source: str) -> Iterator[str]:
    """One line for each tag without a test, each unknown id, and each id of *known* without a test."""
    known = list(known)
    shown = {id for tag in tags if tag.test for id in tag.ids}
    for tag in tags:
        if tag.test is None:
            yield f"{tag.place}: no test below the tag"
        yield from (f"{tag.place}: `{id}` is not in {source}" for id in tag.ids if id not in known)
    yield from (f"no test shows `{id}`" for id in known if id not in shown)


def listed(id: str, tags: list[Tag]) -> str:
    """The tests of *id* as one cell of a Markdown table."""
    return "<br>".join(f"`{test}`" for test in sorted({t.test for t in tags if t.test and id in t.ids})) or "none"


def write_page(root: Path, page: str, text: str, *, check: bool) -> Iterator[str]:
    """Write *page*; with *check* report that it differs instead."""
    target = root / page
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return
    if check:
        yield f"{page} is out of date; run `make docs`"
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
