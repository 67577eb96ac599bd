"""A container's log for reading: Claude's event stream as a transcript, everything else line by line.

What an agent prints is not to be trusted: an event of another shape than expected says nothing or is shown as text, and
of control sequences only colours are left.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from terok_util.tty import write_text

from terok_executor.container import logs

_LONGEST_RESULT = 400
_CHUNK = 65536


def show(name: str, *, follow: bool, tail: int | None, raw: bool) -> int:
    """Print the log of *name*; return podman's exit status."""
    try:
        process = logs.stream_logs_process(name, follow=follow, tail=tail, merge_stderr=True)
    except FileNotFoundError:
        raise SystemExit(f"cannot read the log of container `{name}`: podman is not installed") from None
    assert process.stdout is not None
    # Another program gets the raw log as it is; a terminal never does.
    show_piece = _show_exactly if raw and not sys.stdout.isatty() else _show_cleaned if raw else None
    try:
        if show_piece is not None:
            show_piece(process.stdout.fileno())
        else:
            for line in readable(_lines(process.stdout.fileno())):
                write_text(line)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise SystemExit(130) from None
    return process.wait()


def _show_exactly(source: int) -> None:
    out = getattr(sys.stdout, "buffer", None)
    while chunk := os.read(source, _CHUNK):
        if out is None:
            sys.stdout.write(chunk.decode("utf-8", "replace"))
        else:
            out.write(chunk)
        sys.stdout.flush()


def _show_cleaned(source: int) -> None:
    from terok_native import _lib

    cleaner = _lib.CleanerRef()
    while chunk := os.read(source, _CHUNK):
        write_text(cleaner.feed(chunk))
    write_text(cleaner.finish())


def _lines(source: int) -> Iterator[str]:
    """Every line, with its end, as soon as it is there; one without an end does not fill the memory."""
    from terok_native import _lib

    lines = _lib.LinesRef()
    while chunk := os.read(source, _CHUNK):
        for line in lines.feed(chunk):
            yield f"{line}\n"
    last = lines.finish()
    if last is not None:
        yield last


def readable(lines: Iterable[str]) -> Iterator[str]:
    """Turn event lines into transcript lines; of others, what could move a terminal is taken out."""
    for line in lines:
        event = _event(line)
        if event is None:
            text = line.rstrip("\r\n")
            yield _clean(text) + line[len(text) :]
        else:
            yield from (f"{_clean(text)}\n" for text in _render(event))


def _clean(text: str) -> str:
    from terok_native import _lib

    # Names in JSON may hold half a character, which no text of the engine can.
    return _lib.task_clean_log(text.encode("utf-8", "replace").decode("utf-8"))


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else None


def _render(event: dict[str, Any]) -> Iterator[str]:
    kind = event["type"]
    if kind == "system" and event.get("subtype") == "init":
        yield f"· session {event.get('session_id', '?')}, model {event.get('model', '?')}"
    elif kind in ("assistant", "user"):
        message = event.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else []:
            yield from _render_block(block)
    elif kind == "result":
        yield _render_result(event)


def _render_block(block: Any) -> Iterator[str]:
    if not isinstance(block, dict):
        return
    if block.get("type") == "text" and (text := str(block.get("text") or "").strip()):
        yield f"● {text}"
    elif block.get("type") == "tool_use":
        yield f"→ {block.get('name', '?')} {_short(json.dumps(block.get('input', {}), ensure_ascii=False))}"
    elif block.get("type") == "tool_result":
        mark = "✗" if block.get("is_error") else "✓"
        yield f"  {mark} {_short(_flat(block.get('content')))}"


def _flat(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_RESULT else f"{text[:_LONGEST_RESULT]}…"


def _render_result(event: dict[str, Any]) -> str:
    took = event.get("duration_ms")
    seconds = f"{took / 1000:.1f}" if isinstance(took, (int, float)) else "?"
    outcome = "failed" if event.get("is_error") else "done"
    return f"■ {outcome} after {event.get('num_turns', '?')} turns, {seconds} s"
