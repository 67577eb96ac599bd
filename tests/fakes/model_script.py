"""What the scripted model does next, whatever wire dialect asks for it.

Duty: hold the script, find the step a conversation has reached, and phrase that step with the
tools the asking program offers. Invariants: the step is a pure function of the conversation in
the request, so a retried, repeated or resumed request gets the same answer, and side requests
(titles, summaries, quota probes: requests that offer no tools) never move it.
Refuses: a script with unknown keys, and a step for which no offered tool will do.

A script is JSON::

    {"steps": [{"tool": "read", "path": "greet.py"},
               {"tool": "edit", "path": "greet.py", "old": "a line", "new": "other line"},
               {"tool": "write", "path": "new.txt", "content": "text\n"},
               {"tool": "shell", "command": "git diff --stat"},
               {"say": "Finished."}],
     "side": "Short title"}

Every tool step may carry ``say`` (words before the call); every step may carry ``delay``
(seconds before the answer starts), ``pace`` (seconds between streamed events), ``status``
(answer with this HTTP error instead) and ``cut`` (break the connection after that many streamed
events). A step with only ``say`` ends the turn; the next prompt of a resumed session continues
behind it, and past the last step the last ``say`` is repeated. ``old`` and ``new`` should be
whole lines, since some programs edit through patches.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

# The order is the preference: a real edit tool before a patch before the shell.
TOOL_NAMES = {
    "read": ("Read", "read", "read_file"),
    "edit": ("Edit", "edit"),
    "write": ("Write", "write", "write_file"),
    "patch": ("apply_patch",),
    "shell": ("Bash", "bash", "exec_command", "shell_command", "shell", "local_shell"),
    "code": ("exec",),
}
# Our word for an argument -> the spellings the programs use.
ARGUMENT_NAMES = {
    "path": ("file_path", "filePath", "path"),
    "old": ("old_string", "oldString", "old_str"),
    "new": ("new_string", "newString", "new_str"),
    "content": ("content", "contents"),
    "command": ("command", "cmd"),
    "patch": ("input", "patchText", "patch"),
    "code": ("code",),
    "description": ("description",),
}
NEEDS = {
    "read": {"path"},
    "edit": {"path", "old", "new"},
    "write": {"path", "content"},
    "shell": {"command"},
}
MANNERS = {"say", "delay", "pace", "status", "cut"}


class ScriptError(ValueError):
    """The script is malformed, or the asking program offers no tool that could do a step."""


@dataclass(frozen=True)
class Tool:
    """One tool offered by the request; ``properties`` is its JSON schema's object part."""

    name: str
    properties: dict = field(default_factory=dict)
    freeform: bool = False


@dataclass(frozen=True)
class Call:
    """One tool call; ``arguments`` is a dict, or plain text for a freeform tool."""

    call_id: str
    name: str
    arguments: dict | str
    freeform: bool = False

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class Reply:
    """What the model answers: words, a tool call, or both, and how the wire behaves."""

    text: str = ""
    call: Call | None = None
    delay: float = 0.0
    pace: float = 0.0
    status: int = 0
    cut: int = 0
    side: bool = False


@dataclass(frozen=True)
class Conversation:
    """A request reduced to what decides the answer.

    ``events`` is the history in order, each one of ``user``, ``say``, ``call``, ``result``.
    """

    events: tuple[str, ...]
    tools: tuple[Tool, ...]
    model: str = "scripted"
    stream: bool = False

    def position(self) -> int:
        """Steps already done: one per tool result, one per turn that ended in words."""
        done = 0
        for here, after in zip(self.events, (*self.events[1:], "end"), strict=True):
            done += here == "result" or (here == "say" and after not in ("say", "call"))
        return done


class Script:
    """A checked list of steps plus the text that side requests get."""

    def __init__(self, steps: list[dict], side: str = "A short task"):
        if not steps:
            raise ScriptError("the script has no steps")
        for number, step in enumerate(steps):
            _check_step(number, step)
        self.steps = steps
        self.side = side
        self.closing = next((s["say"] for s in reversed(steps) if "say" in s), "Done.")

    @classmethod
    def load(cls, path: Path) -> Script:
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as err:
            raise ScriptError(f"could not read the script `{path}`: {err}") from err
        if not isinstance(raw, dict) or set(raw) - {"steps", "side"}:
            raise ScriptError(f"the script `{path}` must be an object with `steps` and `side`")
        return cls(raw.get("steps", []), raw.get("side", "A short task"))

    def reply(self, talk: Conversation) -> Reply:
        """The answer to this conversation; pure, so asking twice is harmless."""
        if not talk.tools:
            return Reply(text=self.side, side=True)
        place = talk.position()
        if place >= len(self.steps):
            return Reply(text=self.closing)
        step = self.steps[place]
        manner = {key: step[key] for key in ("delay", "pace", "status", "cut") if key in step}
        call = phrase(step, talk.tools, f"call_{place:04d}") if "tool" in step else None
        return Reply(text=step.get("say", ""), call=call, **manner)


def _check_step(number: int, step: dict) -> None:
    kind = step.get("tool")
    if kind is None and "say" not in step and "status" not in step:
        raise ScriptError(f"step {number} neither calls a tool nor says anything")
    if kind is not None and kind not in NEEDS:
        raise ScriptError(f"step {number} names the unknown tool `{kind}`")
    wanted = NEEDS.get(kind, set())
    if missing := wanted - set(step):
        raise ScriptError(f"step {number} (`{kind}`) lacks {sorted(missing)}")
    if extra := set(step) - wanted - MANNERS - {"tool"}:
        raise ScriptError(f"step {number} has unknown keys {sorted(extra)}")


def phrase(step: dict, tools: tuple[Tool, ...], call_id: str) -> Call:
    """Turn a step into a call of a tool that is on offer.

    A program without a tool of the kind gets a patch (edit, write) or a shell command instead.
    """
    kind = step["tool"]
    if tool := _offered(kind, tools):
        return _fill(tool, step, call_id)
    if kind in ("edit", "write"):
        patch = _patch(step)
        if tool := _offered("patch", tools):
            return _fill(tool, {"patch": patch}, call_id)
        command = f"apply_patch <<'PATCH'\n{patch}PATCH\n"
    else:
        command = f"cat -- {shlex.quote(step['path'])}" if kind == "read" else step["command"]
    if tool := _offered("shell", tools):
        return _fill(tool, {"command": command}, call_id)
    if tool := _offered("code", tools):
        return _fill(tool, {"code": _code(step, command)}, call_id)
    raise ScriptError(f"no tool for `{kind}` among {sorted(t.name for t in tools)}")


def _offered(kind: str, tools: tuple[Tool, ...]) -> Tool | None:
    by_name = {tool.name: tool for tool in tools}
    return next((by_name[name] for name in TOOL_NAMES[kind] if name in by_name), None)


def _fill(tool: Tool, values: dict, call_id: str) -> Call:
    """Give the tool our values under the argument names its own schema declares."""
    if tool.freeform:
        return Call(call_id, tool.name, values.get("patch") or values["code"], freeform=True)
    arguments: dict = {}
    for word, spellings in ARGUMENT_NAMES.items():
        spelling = next((s for s in spellings if s in tool.properties), None)
        if spelling and word in values:
            arguments[spelling] = _shaped(values[word], tool.properties[spelling])
        elif spelling and word == "description" and "command" in values:
            arguments[spelling] = "Run a scripted command"
    return Call(call_id, tool.name, arguments)


def _shaped(value: str, schema: dict) -> str | list[str]:
    return ["bash", "-c", value] if schema.get("type") == "array" else value


def _code(step: dict, command: str) -> str:
    """The step as a line of JavaScript, for programs whose only tool runs code over the others."""
    if step["tool"] in ("edit", "write"):
        return f"text(await tools.apply_patch({json.dumps(_patch(step))}));"
    return f"text((await tools.exec_command({json.dumps({'cmd': command})})).output);"


def _patch(step: dict) -> str:
    """The step in the `*** Begin Patch` notation of the OpenAI tools."""
    if step["tool"] == "write":
        body = "".join(f"+{line}\n" for line in step["content"].splitlines())
        return f"*** Begin Patch\n*** Add File: {step['path']}\n{body}*** End Patch\n"
    old = "".join(f"-{line}\n" for line in step["old"].splitlines())
    new = "".join(f"+{line}\n" for line in step["new"].splitlines())
    return f"*** Begin Patch\n*** Update File: {step['path']}\n@@\n{old}{new}*** End Patch\n"
