"""The three wire dialects of the scripted model: reading requests, writing answers.

Duty: turn a request body into a `Conversation`, and a `Reply` into a JSON body or a list of
server-sent events. Invariants: no state, no I/O; identifiers come from the reply, so equal
requests give equal answers. Refuses nothing: whatever it does not understand in a request
it leaves out, as a real service would ignore fields of a newer client.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Protocol

from model_script import Call, Conversation, Reply, Tool

# An event's name (None: the dialect names no events) and its payload.
Event = tuple[str | None, dict | str]
CREATED = 1_700_000_000


class Dialect(Protocol):
    """One API: how its requests read and how its answers are written."""

    def read(self, body: dict) -> Conversation: ...

    def whole(self, talk: Conversation, reply: Reply) -> dict: ...

    def events(self, talk: Conversation, reply: Reply) -> Iterator[Event]: ...

    def error(self, status: int, text: str) -> dict: ...


def _pieces(text: str) -> list[str]:
    """Split as a streaming model would: several parts, none empty, joined equal to `text`."""
    size = max(1, -(-len(text) // 4))
    return [text[i : i + size] for i in range(0, len(text), size)]


def _function(raw: dict) -> Tool:
    schema = raw.get("parameters") or raw.get("input_schema") or {}
    return Tool(raw["name"], schema.get("properties") or {})


class Messages:
    """Anthropic Messages (`POST /v1/messages`)."""

    KINDS = MappingProxyType({"text": "say", "tool_use": "call"})

    def read(self, body: dict) -> Conversation:
        events: list[str] = []
        for message in body.get("messages", []):
            content = message.get("content", "")
            blocks = [{"type": "text"}] if isinstance(content, str) else content
            for block in blocks:
                kind = block.get("type")
                if message.get("role") == "assistant":
                    events += [self.KINDS[kind]] if kind in self.KINDS else []
                else:
                    events.append("result" if kind == "tool_result" else "user")
        tools = tuple(_function(t) for t in body.get("tools") or [] if "input_schema" in t)
        return Conversation(
            tuple(events), tools, body.get("model", "scripted"), bool(body.get("stream"))
        )

    def _envelope(self, talk: Conversation) -> dict:
        return {
            "id": f"msg_{talk.position():04d}_{len(talk.events):04d}",
            "type": "message",
            "role": "assistant",
            "model": talk.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "output_tokens": 1,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }

    def whole(self, talk: Conversation, reply: Reply) -> dict:
        content: list[dict] = [{"type": "text", "text": reply.text}] if reply.text else []
        if reply.call:
            content.append(
                {
                    "type": "tool_use",
                    "id": self._id(reply.call),
                    "name": reply.call.name,
                    "input": reply.call.arguments,
                }
            )
        return {**self._envelope(talk), "content": content, "stop_reason": self._stop(reply)}

    def events(self, talk: Conversation, reply: Reply) -> Iterator[Event]:
        def event(kind: str, **data: object) -> Event:
            return kind, {"type": kind, **data}

        yield event("message_start", message=self._envelope(talk))
        yield event("ping")
        blocks: list[tuple[dict, list[dict]]] = []
        if reply.text:
            blocks.append(
                (
                    {"type": "text", "text": ""},
                    [{"type": "text_delta", "text": p} for p in _pieces(reply.text)],
                )
            )
        if reply.call:
            blocks.append(
                (
                    {
                        "type": "tool_use",
                        "id": self._id(reply.call),
                        "name": reply.call.name,
                        "input": {},
                    },
                    [
                        {"type": "input_json_delta", "partial_json": p}
                        for p in _pieces(reply.call.text)
                    ],
                )
            )
        for index, (opening, deltas) in enumerate(blocks):
            yield event("content_block_start", index=index, content_block=opening)
            for delta in deltas:
                yield event("content_block_delta", index=index, delta=delta)
            yield event("content_block_stop", index=index)
        yield event(
            "message_delta",
            usage={"output_tokens": 20},
            delta={"stop_reason": self._stop(reply), "stop_sequence": None},
        )
        yield event("message_stop")

    def error(self, status: int, text: str) -> dict:
        kind = {
            401: "authentication_error",
            404: "not_found_error",
            429: "rate_limit_error",
            529: "overloaded_error",
        }.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": text}}

    @staticmethod
    def _id(call: Call) -> str:
        return f"toolu_{call.call_id}"

    @staticmethod
    def _stop(reply: Reply) -> str:
        return "tool_use" if reply.call else "end_turn"


class Responses:
    """OpenAI Responses (`POST /v1/responses`)."""

    def read(self, body: dict) -> Conversation:
        events: list[str] = []
        given = body.get("input", [])
        for item in [{"role": "user"}] if isinstance(given, str) else given:
            kind = item.get("type", "message")
            if kind == "message":
                events.append("say" if item.get("role") == "assistant" else "user")
            elif kind.endswith("_call_output"):
                events.append("result")
            elif kind.endswith("_call"):
                events.append("call")
        tools = tuple(
            Tool(t["name"], freeform=True) if t["type"] == "custom" else _function(t)
            for t in self._offered(body)
        )
        return Conversation(
            tuple(events), tools, body.get("model", "scripted"), bool(body.get("stream"))
        )

    def _offered(self, body: dict) -> Iterator[dict]:
        """All callable tools: at the top level, in namespaces, or in items of the input."""
        given = body.get("input", [])
        waiting = list(body.get("tools") or [])
        for item in given if isinstance(given, list) else []:
            waiting += item["tools"] if item.get("type") == "additional_tools" else []
        while waiting:
            tool = waiting.pop(0)
            waiting += tool.get("tools", [])
            if tool.get("type") in ("function", "custom"):
                yield tool

    def _output(self, talk: Conversation, reply: Reply) -> list[dict]:
        items: list[dict] = []
        if reply.text:
            items.append(
                {
                    "type": "message",
                    "id": f"msg_{len(talk.events):04d}",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": reply.text, "annotations": []}],
                }
            )
        if (call := reply.call) and call.freeform:
            items.append(
                {
                    "type": "custom_tool_call",
                    "id": f"ctc_{call.call_id}",
                    "call_id": call.call_id,
                    "name": call.name,
                    "input": call.text,
                    "status": "completed",
                }
            )
        elif call:
            items.append(
                {
                    "type": "function_call",
                    "id": f"fc_{call.call_id}",
                    "call_id": call.call_id,
                    "name": call.name,
                    "arguments": call.text,
                    "status": "completed",
                }
            )
        return items

    def _envelope(self, talk: Conversation, status: str, output: list[dict]) -> dict:
        usage = {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 30,
        }
        return {
            "id": f"resp_{len(talk.events):04d}",
            "object": "response",
            "status": status,
            "created_at": CREATED,
            "model": talk.model,
            "output": output,
            "error": None,
            "usage": usage if status == "completed" else None,
        }

    def whole(self, talk: Conversation, reply: Reply) -> dict:
        return self._envelope(talk, "completed", self._output(talk, reply))

    def events(self, talk: Conversation, reply: Reply) -> Iterator[Event]:
        number = iter(range(1_000_000))

        def event(kind: str, **data: object) -> Event:
            return kind, {"type": kind, "sequence_number": next(number), **data}

        yield event("response.created", response=self._envelope(talk, "in_progress", []))
        output = self._output(talk, reply)
        for index, item in enumerate(output):
            place = {"output_index": index, "item_id": item["id"]}
            bare = {
                key: [] if key == "content" else "" if key in ("arguments", "input") else value
                for key, value in item.items()
            } | {"status": "in_progress"}
            yield event("response.output_item.added", output_index=index, item=bare)
            if item["type"] == "message":
                for piece in _pieces(reply.text):
                    yield event("response.output_text.delta", content_index=0, delta=piece, **place)
                yield event("response.output_text.done", content_index=0, text=reply.text, **place)
            elif item["type"] == "function_call":
                for piece in _pieces(item["arguments"]):
                    yield event("response.function_call_arguments.delta", delta=piece, **place)
                yield event(
                    "response.function_call_arguments.done", arguments=item["arguments"], **place
                )
            yield event("response.output_item.done", output_index=index, item=item)
        yield event("response.completed", response=self._envelope(talk, "completed", output))

    def error(self, status: int, text: str) -> dict:
        return _openai_error(status, text)


class Chat:
    """OpenAI Chat Completions (`POST /v1/chat/completions`)."""

    def read(self, body: dict) -> Conversation:
        events: list[str] = []
        for message in body.get("messages", []):
            role = message.get("role")
            if role == "assistant":
                events += ["say"] if message.get("content") else []
                events += ["call"] * len(message.get("tool_calls") or [])
            elif role in ("tool", "user"):
                events.append("result" if role == "tool" else "user")
        tools = tuple(
            _function(t["function"]) for t in body.get("tools") or [] if t.get("type") == "function"
        )
        return Conversation(
            tuple(events), tools, body.get("model", "scripted"), bool(body.get("stream"))
        )

    def _envelope(self, talk: Conversation, kind: str) -> dict:
        return {
            "id": f"chatcmpl-{len(talk.events):04d}",
            "object": kind,
            "created": CREATED,
            "model": talk.model,
        }

    @staticmethod
    def _call(call: Call) -> dict:
        return {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.text},
        }

    def whole(self, talk: Conversation, reply: Reply) -> dict:
        message: dict = {"role": "assistant", "content": reply.text or None}
        if reply.call:
            message["tool_calls"] = [self._call(reply.call)]
        return {
            **self._envelope(talk, "chat.completion"),
            "usage": self._usage(),
            "choices": [{"index": 0, "message": message, "finish_reason": self._stop(reply)}],
        }

    def events(self, talk: Conversation, reply: Reply) -> Iterator[Event]:
        def chunk(delta: dict, finish: str | None = None) -> Event:
            return None, {
                **self._envelope(talk, "chat.completion.chunk"),
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }

        yield chunk({"role": "assistant", "content": ""})
        for piece in _pieces(reply.text):
            yield chunk({"content": piece})
        if reply.call:
            opening = self._call(reply.call)
            opening["function"]["arguments"] = ""
            yield chunk({"tool_calls": [{"index": 0, **opening}]})
            for piece in _pieces(reply.call.text):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield chunk({}, self._stop(reply))
        yield (
            None,
            {
                **self._envelope(talk, "chat.completion.chunk"),
                "choices": [],
                "usage": self._usage(),
            },
        )
        yield None, "[DONE]"

    def error(self, status: int, text: str) -> dict:
        return _openai_error(status, text)

    @staticmethod
    def _usage() -> dict:
        return {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}

    @staticmethod
    def _stop(reply: Reply) -> str:
        return "tool_calls" if reply.call else "stop"


def _openai_error(status: int, text: str) -> dict:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {
        "error": {
            "message": text,
            "type": kind,
            "param": None,
            "code": "invalid_api_key" if status == 401 else None,
        }
    }


def encode(event: Event) -> bytes:
    """One server-sent event as bytes."""
    name, data = event
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()
