"""Calls in the form of 0.7.9, for functions whose signature is that of 0.8.0."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def also_takes(*names: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Let a function be called with keywords that meant something once; they are dropped, and not shown."""

    def decorate(function: Callable[..., _Result]) -> Callable[..., _Result]:
        @wraps(function)
        def call(*args: Any, **keywords: Any) -> _Result:
            return function(*args, **{name: value for name, value in keywords.items() if name not in names})

        return call

    return decorate
