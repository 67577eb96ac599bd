"""Following a container, with a fake podman."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from terok_executor.container import follow


def test_output_and_exit_code(podman, capfd):
    podman.answer("logs", "-f", "c", stdout=">> init complete\nwork\n", stderr="noise\n")
    podman.answer("wait", "c", stdout="3\n")
    ready = []
    assert follow.follow("c", deadline_s=60, on_ready=lambda: ready.append(1)) == 3
    assert "work\n" in capfd.readouterr().out
    assert ready == [1]


HOSTILE = "\x1b]52;c;QUJD\x07\x1b[2J\x1b]0;title\x1b\\\x1b[31mred\x1b[0m a\u202eb\x08\x7f\x9b2Kc"


# holds: hostile-text-is-cleaned
def test_followed_output_cannot_steer_the_terminal(podman, capfd):
    podman.answer("logs", "-f", "c", stdout=HOSTILE + "\n" + "x" * 300_000 + "\nend\n")
    podman.answer("wait", "c", stdout="0\n")
    assert follow.follow("c", deadline_s=60) == 0
    first, long, last = capfd.readouterr().out.splitlines()
    assert first == "\x1b[31mred\x1b[0m abc"
    assert len(long) < 270_000 and "[…" in long and last == "end"


def test_part_of_a_line_is_shown_at_once(podman):
    podman.answer("logs", "-f", "c", stdout="50%", sleep=30)
    program = "from terok_executor.container.follow import follow; follow('c', deadline_s=60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout.read(3) == b"50%"
        process.kill()


def test_a_silent_container_does_not_hold_the_caller(podman, capfd):
    podman.answer("logs", "-f", "c", sleep=30)
    start = time.monotonic()
    assert follow.follow("c", deadline_s=0.4) == 1
    assert time.monotonic() - start < 25
    assert "still runs" in capfd.readouterr().err


def test_an_unknown_end_is_status_one(podman, capfd):
    podman.answer("logs", "-f", "c")
    podman.answer("wait", "c", stdout="what\n")
    assert follow.follow("c", deadline_s=60) == 1
    assert "not known" in capfd.readouterr().err


def test_missing_podman(no_podman, capfd):
    assert follow.follow("c", deadline_s=5) == 1
    assert "not installed" in capfd.readouterr().err


def test_ctrl_c_says_how_to_get_back(podman):
    podman.answer("logs", "-f", "c", stdout="started\n", sleep=30)
    program = "from terok_executor.container.follow import follow; follow('c', deadline_s=60)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    ) as process:
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"podman logs -f c" in errors and b"terok-executor stop c" in errors and b"Traceback" not in errors


@pytest.mark.parametrize(
    ("code", "oom", "words"),
    [
        (0, False, "finished"),
        (7, False, "exit code 7"),
        (124, False, "time limit of 5 seconds"),
        (137, True, "ran out of memory"),
        (137, False, "was killed"),
    ],
)
def test_ends_are_explained(podman, code, oom, words):
    podman.answer("container", "inspect", stdout=f'[{{"State": {{"OOMKilled": {str(oom).lower()}}}}}]')
    assert words in follow.explain_exit("c", code, 5)
