"""The look at disk and memory before the suite begins."""

import os
import re
import subprocess

import pytest
from lane import HOST


def room(bars: str, *parts: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"TEROK_TEST_ROOM": bars}
    return subprocess.run([HOST / "room", *parts], env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("parts", [(), ("build",), ("containers",), ("build", "containers")])
def test_enough_is_silent(parts: tuple[str, ...]) -> None:
    done = room("0,0", *parts)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("bars", "wanted"),
    [
        ("99999999,0", r"99999999 MB of disk at /\S*, where \d+ MB are free"),
        ("0,99999999", r"99999999 MB of memory, of which \d+ MB are available"),
        ("99999999,99999999", r"99999999 MB of disk .*; 99999999 MB of memory, of which \d+ MB are available"),
    ],
)
def test_too_little_is_one_line_with_the_bar_and_what_there_is(bars: str, wanted: str) -> None:
    done = room(bars, "containers")
    assert done.returncode == 1 and done.stderr == ""
    assert re.fullmatch(rf"not enough room for the tests \(containers\): they want {wanted}\n", done.stdout)


def test_the_suite_does_not_begin_without_room_in_ci() -> None:
    env = os.environ | {"TEROK_TEST_ROOM": "99999999,0", "CI": "true"}
    done = subprocess.run([HOST / "run-tests"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("not enough room") and done.stderr.count("\n") == 1


def test_a_part_that_nobody_knows_is_named() -> None:
    done = room("", "kitchen")
    assert done.returncode == 125 and "usage" in done.stderr
