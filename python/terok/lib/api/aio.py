"""Awaitable twins: the same names, arguments, results and exceptions, for callers that run an event loop.

``await aio.task_new("demo")`` is ``task_new("demo")`` on a thread of the library's own pool, so the loop goes on. Both
run the same code: what is replaced on :mod:`terok.lib.api` is what the twin calls. Objects have twins of their blocking
methods through :func:`of`: ``await aio.of(project).list_tasks()``.

What a twin returns is a future whose work has been handed to a thread already. User mistakes stay ``SystemExit``: catch
it where you await. A future carries it through ``gather`` and ``wait_for``; a *task* that ends with it ends the whole
loop, which is why twins are no coroutines. A caller that is cancelled stops waiting; a call that has begun is finished
by its thread, and the interpreter waits for that at its end.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_MOST = 64
"""Calls at once; each may wait as long as a container runs."""

_guard = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _guard:
        if _pool is None:
            _pool = ThreadPoolExecutor(max_workers=_MOST, thread_name_prefix="terok-aio")
        return _pool


def _after_fork() -> None:
    # A child has none of the parent's threads.
    global _pool, _guard
    _pool, _guard = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def call(function: Callable[..., _Result], /, *args: Any, **keywords: Any) -> asyncio.Future[_Result]:
    """Start ``function(*args, **keywords)`` on a thread, with the context variables of the caller; await the result.

    Raises:
        RuntimeError: No event loop runs here.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    work = functools.partial(context.run, _carry_out, function, args, keywords)
    return loop.run_in_executor(_threads(), work)


def _carry_out(function: Callable[..., _Result], args: tuple[Any, ...], keywords: dict[str, Any]) -> _Result:
    try:
        return function(*args, **keywords)
    except StopIteration as ended:
        # No future can hold it: up to Python 3.12 whoever awaits one waits for ever.
        raise RuntimeError(f"`{getattr(function, '__name__', function)}` ended with StopIteration") from ended


class of:
    """A view of *target* on which every method is awaitable, and every property, which may block as well."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., asyncio.Future[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)

        def bound(*args: Any, **keywords: Any) -> asyncio.Future[Any]:
            return call(_ask, self._target, name, args, keywords)

        bound.__name__ = name
        return bound


def _ask(target: object, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    found = getattr(target, name)
    return found(*args, **keywords) if callable(found) else found


def __getattr__(name: str) -> Callable[..., asyncio.Future[Any]]:
    from terok.lib import api

    found = None if name.startswith("_") else getattr(api, name, None)
    if not callable(found) or isinstance(found, type):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: the API has no function of that name")

    @functools.wraps(found)
    def twin(*args: Any, **keywords: Any) -> asyncio.Future[Any]:
        return call(getattr(api, name), *args, **keywords)

    twin.__module__ = __name__
    return twin


def __dir__() -> list[str]:
    from terok.lib import api

    return sorted({*globals(), *(name for name in api.__all__ if name.islower() and name not in api.HOMES)})
