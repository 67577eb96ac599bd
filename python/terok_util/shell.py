"""Commands in messages, ready to be pasted into a shell."""

from __future__ import annotations

import os

__all__ = ["command_line"]


def command_line(*words: str | bytes | os.PathLike[str] | int) -> str:
    """Quote every word and join them with single spaces.

    Every command in a message comes from here, also one whose values look harmless: names of branches, projects and
    containers, and paths are what other people made them. A word that contains control or format characters, or bytes
    that are no UTF-8, is written as ``$'…'``.
    """
    from terok_native import _lib

    return _lib.base_command_line([os.fsencode(str(word) if isinstance(word, int) else word) for word in words])
