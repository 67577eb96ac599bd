"""The readable form of an agent's log."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest
from terok_executor.container.transcript import readable


def event(**members):
    return json.dumps(members) + "\n"


def test_plain_lines_pass_unchanged():
    lines = ["hello\n", "{not json\n", '{"no": "type"}\n', "[1]\n", "\x1b[31mred\x1b[0m\r\n", "no end"]
    assert list(readable(lines)) == lines


def test_nothing_that_an_agent_prints_moves_the_terminal():
    hostile = "\x1b]0;title\x07\x1b[2Jtext"
    lines = [hostile + "\n", event(type="assistant", message={"content": [{"type": "text", "text": hostile}]})]
    assert list(readable([*lines, event(type="system", subtype="init", session_id="\ud800", model=hostile)])) == [
        "text\n", "● text\n", "· session ?, model text\n",
    ]  # fmt: skip


def test_events_become_a_transcript():
    lines = [
        event(type="system", subtype="init", session_id="s1", model="m"),
        event(type="assistant", message={"content": [{"type": "text", "text": " thinking \n"}]}),
        event(type="assistant", message={"content": [{"type": "tool_use", "name": "Read", "input": {"p": "a"}}]}),
        event(type="user", message={"content": [{"type": "tool_result", "content": [{"type": "text", "text": "x\ny"}]}]}),
        event(type="user", message={"content": [{"type": "tool_result", "is_error": True, "content": "no"}]}),
        event(type="result", num_turns=3, duration_ms=1500, is_error=False),
    ]
    assert list(readable(lines)) == [
        "· session s1, model m\n",
        "● thinking\n",
        '→ Read {"p": "a"}\n',
        "  ✓ x y\n",
        "  ✗ no\n",
        "■ done after 3 turns, 1.5 s\n",
    ]


def test_odd_events_do_not_break_it():
    odd = [event(type="assistant"), event(type="assistant", message={"content": "text"}), event(type="new-kind")]
    odd += [event(type="assistant", message={"content": [7, {"type": "text", "text": None}]})]
    odd += [event(type=kind, message=message) for kind in ("assistant", "user") for message in ("hi", [1], 5)]
    assert list(readable(odd)) == []
    assert list(readable([event(type="assistant", message={"content": [{"type": "text", "text": 5}]})])) == ["● 5\n"]
    for took in ("soon", [1], None, {}):
        assert list(readable([event(type="result", duration_ms=took)])) == ["■ done after ? turns, ? s\n"]


def test_long_results_are_cut():
    long = event(type="user", message={"content": [{"type": "tool_result", "content": "x" * 5000}]})
    (line,) = readable([long])
    assert len(line) < 500


# holds: hostile-text-is-cleaned
@pytest.mark.parametrize("terminal", [False, True])
def test_the_raw_log_is_exact_for_programs_and_clean_for_terminals(podman, terminal):
    podman.answer("logs", "c", stdout='\x1b]52;c;QQ\x07{"type": "x"}\x1b[2J\n')
    program = "from terok_executor.container.transcript import show; show('c', follow=False, tail=None, raw=True)"
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with os.fdopen(ours, "rb", 0) as shown, subprocess.Popen([sys.executable, "-c", program], stdout=theirs):
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while piece := shown.read(4096):
                text += piece
    assert text == (b'{"type": "x"}\r\n' if terminal else b'\x1b]52;c;QQ\x07{"type": "x"}\x1b[2J\n')
