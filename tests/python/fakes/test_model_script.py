"""The script's position and phrasing: pure functions, checked on requests of each dialect."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "fakes"))

from model_dialects import Chat, Messages, Responses
from model_script import Conversation, Script, ScriptError, Tool

STEPS = [
    {"tool": "read", "path": "a.txt", "say": "Looking."},
    {"tool": "edit", "path": "a.txt", "old": "one", "new": "two"},
    {"say": "First turn done."},
    {"tool": "shell", "command": "true"},
    {"say": "Second turn done."},
]
CLAUDE = (
    Tool("Bash", {"command": {}, "description": {}}),
    Tool("Read", {"file_path": {}}),
    Tool("Edit", {"file_path": {}, "old_string": {}, "new_string": {}}),
)
FULL_TURN = ("user", "say", "call", "result", "call", "result", "say", "user")


@pytest.mark.parametrize(
    ("events", "position"),
    [
        (("user",), 0),
        (("user", "user"), 0),
        (("user", "say", "call", "result"), 1),
        (("user", "say", "call", "result", "user"), 1),
        (FULL_TURN[:-1], 3),
        (FULL_TURN, 3),
        ((*FULL_TURN, "call", "result"), 4),
    ],
)
def test_position_counts_results_and_finished_turns(events, position):
    assert Conversation(events, CLAUDE).position() == position


def test_same_request_gets_same_answer_and_side_requests_get_the_side_text():
    script = Script(STEPS, side="Title")
    talk = Conversation(("user",), CLAUDE)
    assert script.reply(talk) == script.reply(talk)
    side = script.reply(Conversation(("user",), ()))
    assert (side.text, side.side, side.call) == ("Title", True, None)


def test_past_the_end_the_last_words_are_repeated():
    talk = Conversation(("user", "say") * 9, CLAUDE)
    assert Script(STEPS).reply(talk).text == "Second turn done."


@pytest.mark.parametrize(
    ("tools", "name", "arguments"),
    [
        (CLAUDE, "Edit", {"file_path": "a.txt", "old_string": "one", "new_string": "two"}),
        (
            (Tool("edit", {"filePath": {}, "oldString": {}, "newString": {}}),),
            "edit",
            {"filePath": "a.txt", "oldString": "one", "newString": "two"},
        ),
        (
            (Tool("apply_patch", freeform=True), Tool("exec_command", {"cmd": {}})),
            "apply_patch",
            "*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+two\n*** End Patch\n",
        ),
        (
            (Tool("shell", {"command": {"type": "array"}}),),
            "shell",
            {
                "command": [
                    "bash",
                    "-c",
                    "apply_patch <<'PATCH'\n*** Begin Patch\n*** Update File: a.txt\n@@\n"
                    "-one\n+two\n*** End Patch\nPATCH\n",
                ]
            },
        ),
        (
            (Tool("exec", freeform=True),),
            "exec",
            'text(await tools.apply_patch("*** Begin Patch\\n*** Update File: a.txt\\n@@\\n'
            '-one\\n+two\\n*** End Patch\\n"));',
        ),
    ],
)
def test_an_edit_is_phrased_with_the_tools_on_offer(tools, name, arguments):
    call = Script(STEPS).reply(Conversation(("user", "call", "result"), tools)).call
    assert (call.name, call.arguments) == (name, arguments)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [{}],
        [{"tool": "dance"}],
        [{"tool": "read"}],
        [{"tool": "shell", "command": "x", "oops": 1}],
    ],
)
def test_a_malformed_script_is_refused(steps):
    with pytest.raises(ScriptError):
        Script(steps)


def test_a_step_no_tool_can_do_is_refused():
    with pytest.raises(ScriptError, match="no tool for `read`"):
        Script(STEPS).reply(Conversation(("user",), (Tool("dance"),)))


def test_messages_requests_read_as_events():
    talk = Messages().read(
        {
            "model": "m",
            "stream": True,
            "tools": [
                {"name": "Read", "input_schema": {"properties": {"file_path": {"type": "string"}}}},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            "messages": [
                {"role": "user", "content": "do it"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "…"},
                        {"type": "text", "text": "ok"},
                        {"type": "tool_use", "id": "1", "name": "Read", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "1", "content": "x"},
                        {"type": "text", "text": "reminder"},
                    ],
                },
            ],
        }
    )
    assert talk.events == ("user", "say", "call", "result", "user")
    assert [tool.name for tool in talk.tools] == ["Read"]
    assert talk.stream


def test_responses_requests_read_as_events_and_find_nested_tools():
    talk = Responses().read(
        {
            "model": "m",
            "input": [
                {
                    "type": "additional_tools",
                    "tools": [
                        {
                            "type": "namespace",
                            "name": "f",
                            "tools": [{"type": "custom", "name": "exec"}],
                        }
                    ],
                },
                {"type": "message", "role": "user", "content": []},
                {"type": "reasoning"},
                {"type": "message", "role": "assistant", "content": []},
                {"type": "custom_tool_call", "name": "exec"},
                {"type": "custom_tool_call_output"},
                {"type": "function_call", "name": "wait"},
                {"type": "function_call_output"},
            ],
        }
    )
    assert talk.events == ("user", "say", "call", "result", "call", "result")
    assert talk.tools == (Tool("exec", freeform=True),)


def test_chat_requests_read_as_events():
    talk = Chat().read(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": "ok", "tool_calls": [{"id": "1"}]},
                {"role": "tool", "tool_call_id": "1", "content": "x"},
            ],
        }
    )
    assert talk.events == ("user", "say", "call", "result")


@pytest.mark.parametrize("dialect", [Messages(), Responses(), Chat()])
def test_streamed_pieces_add_up_to_the_whole_answer(dialect):
    talk = Conversation(("user",), CLAUDE)
    reply = Script(STEPS).reply(talk)
    whole = json.dumps(dialect.whole(talk, reply))
    assert "Looking." in whole
    words = arguments = ""
    for _, data in dialect.events(talk, reply):
        if data == "[DONE]":
            continue
        choice = (data.get("choices") or [{}])[0].get("delta", {})
        delta = data.get("delta", {})
        words += choice.get("content") or ""
        arguments += "".join(c["function"]["arguments"] for c in choice.get("tool_calls", []))
        if isinstance(delta, dict):
            words += delta.get("text", "")
            arguments += delta.get("partial_json", "")
        elif data["type"] == "response.output_text.delta":
            words += delta
        else:
            arguments += delta
    assert words == "Looking."
    assert json.loads(arguments) == {"file_path": "a.txt"}
