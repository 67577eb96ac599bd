"""The page of improvements is made of tags that name a point and stand above a test, and of nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

POINTS = """
[[point]]
id = "1-kept"
section = "1 §1"
title = "Nothing is lost"

[[point]]
id = "2-told"
section = "1 §2"
title = "Causes are named"
"""

RUST = """//! Duty.

// improves: 1-kept
#[test]
fn survives() {}

#[cfg(test)]
// improves: 2-told 1-kept
// (a word on why)
#[tokio::test(
    flavor = "current_thread",
)]
async fn names_the_cause() {}

// improves: 1-kept
fn helper() {}
"""

PYTHON = '''
# improves: 1-kept
@pytest.mark.parametrize("size", [1])
def test_kept(size): ...


class TestAll:
    # improves: 2-told
    def test_told(self): ...


# improves: 3-unknown
def test_other(): ...


# improves: 1-kept

value = """
# improves: 4-quoted
"""
'''


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    place = Path(__file__).parents[3] / "tools" / "improvements.py"
    spec = importlib.util.spec_from_file_location("improvements_tool", place)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "tests/fixtures/improvements.toml": POINTS,
        "src/room/part.rs": RUST,
        "tests/python/room/test_part.py": PYTHON,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_tests_are_found_and_findings_named(tool: ModuleType, tree: Path) -> None:
    assert [(tag.ids, tag.test) for tag in tool.tagged_tests.all_tags(tree, "improves")] == [
        (("1-kept",), "src/room/part.rs::survives"),
        (("2-told", "1-kept"), "src/room/part.rs::names_the_cause"),
        (("1-kept",), None),
        (("1-kept",), "tests/python/room/test_part.py::test_kept"),
        (("2-told",), "tests/python/room/test_part.py::TestAll::test_told"),
        (("3-unknown",), "tests/python/room/test_part.py::test_other"),
        (("1-kept",), None),
    ]
    found = list(
        tool.tagged_tests.findings(
            (point.id for point in tool.read_points(tree)), tool.tagged_tests.all_tags(tree, "improves"), tool.POINTS
        )
    )
    assert len(found) == 3
    assert sum("no test below" in line for line in found) == 2
    assert any("`3-unknown` is not in" in line for line in found)


def test_a_point_without_a_test_and_an_old_page_fail(tool: ModuleType, tree: Path, capsys) -> None:
    (tree / "tests/python/room/test_part.py").write_text("# improves: 1-kept\ndef test_kept(): ...\n")
    (tree / "src/room/part.rs").write_text("//! Duty.\n")
    assert tool.main(["--check"], tree) == 1
    said = capsys.readouterr().out
    assert "no test shows `2-told`" in said and "out of date" in said
    assert not (tree / tool.PAGE).exists()
    (tree / "tests/python/room/test_part.py").write_text("# improves: 1-kept 2-told\ndef test_kept(): ...\n")
    assert tool.main([], tree) == 0
    assert "| 1 §2 | Causes are named | `tests/python/room/test_part.py::test_kept` |" in (tree / tool.PAGE).read_text()
    assert tool.main(["--check"], tree) == 0
