"""Emojis that a terminal without them shows as words."""

from typing import Protocol, runtime_checkable

_emoji_enabled = True


@runtime_checkable
class EmojiInfo(Protocol):
    """Whatever has an emoji and a word for it."""

    emoji: str
    label: str


def set_emoji_enabled(enabled: bool) -> None:
    """Say whether this process shows emojis."""
    global _emoji_enabled
    _emoji_enabled = enabled


def is_emoji_enabled() -> bool:
    """Tell whether this process shows emojis."""
    return _emoji_enabled


def render_emoji(info: EmojiInfo) -> str:
    """Return the emoji, or its word in brackets; nothing when there is no word."""
    if _emoji_enabled:
        return info.emoji
    return f"[{info.label}]" if info.label else ""
