"""Drives the running TUI as a person does: by keys, looking at what is on the screen.

Invariants: a screen is waited for and never slept for; what a failed wait shows is the picture on the screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

SIZE = (120, 50)


class Tui:
    """The running application; make it with `running`."""

    def __init__(self, app: Any, pilot: Any) -> None:
        self.app, self.pilot = app, pilot
        #: What was said in passing, also what is gone from the screen again.
        self.said: dict[str, None] = {}
        self._show = app.notify
        app.notify = self._notify

    def _notify(self, message: str, *rest: Any, **more: Any) -> None:
        self.said[str(message)] = None
        self._show(message, *rest, **more)

    def picture(self) -> str:
        """The screen as text."""
        return "\n".join(strip.text.rstrip() for strip in self.app.screen._compositor.render_strips())

    async def until(self, what: str, condition: Callable[[], Any], limit: float = 240) -> Any:
        """Wait for a condition to give something; `AssertionError` shows what did not happen, and the screen."""
        deadline = time.monotonic() + limit
        while not (value := _asked(condition)):
            assert time.monotonic() < deadline, f"not within {limit} s: {what}\n{self.picture()}\nsaid: {[*self.said]}"
            await asyncio.sleep(0.05)
        return value

    async def see(self, *texts: str, limit: float = 240) -> str:
        """Wait until all these texts are on the screen together."""
        await self.until(f"{texts} on the screen", lambda: all(text in self.picture() for text in texts), limit)
        return self.picture()

    async def on(self, screen: str, limit: float = 120) -> Any:
        """Wait for the screen of this class."""
        await self.until(f"the screen {screen}", lambda: type(self.app.screen).__name__ == screen, limit)
        return self.app.screen

    async def told(self, text: str, limit: float = 120) -> None:
        """Wait for a notification with this text."""
        await self.until(f"the message `{text}`", lambda: any(text in said for said in self.said), limit)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def focus(self, selector: str) -> Any:
        """Put the focus on a widget of this screen."""
        await self.until(f"a widget {selector}", lambda: self.app.screen.query(selector))
        widget = self.app.screen.query_one(selector)
        widget.focus()
        await self.pilot.pause()
        return widget

    async def fill(self, selector: str, text: str) -> None:
        """Type into an empty field."""
        field = await self.focus(selector)
        if hasattr(field, "clear"):
            field.clear()
        await self.press(*({"-": "minus", "/": "slash", ".": "full_stop", " ": "space"}.get(c, c) for c in text))

    async def choose(self, selector: str, label: str) -> None:
        """Choose a radio button by the beginning of its label."""
        choices = await self.focus(selector)
        for _ in choices.children:
            row = choices.children[choices._selected or 0]
            if str(getattr(row, "label", "")).startswith(label):
                await self.press("enter")
                return
            await self.press("down")
        raise AssertionError(f"no choice {label}\n{self.picture()}")

    async def main(self) -> None:
        """Back to the main screen."""
        await self.pilot.pause()
        while len(self.app.screen_stack) > 1:
            await self.press("escape")
            await self.pilot.pause()

    async def tasks(self) -> None:
        """The main screen with the focus on the list of tasks."""
        await self.main()
        await self.focus("#task-list")

    async def confirm(self) -> None:
        """Say yes to the question on the screen."""
        # Pressed as a mouse does: a dialog moves the focus to its safe answer while it opens.
        button = await self.focus("#btn-confirm")
        button.press()
        await self.pilot.pause()

    async def worker(self, *texts: str, limit: float = 300) -> str:
        """Wait for the log of a worker process to end well; what it shows."""
        await self.on("WorkerLogScreen")
        await self.see("exited 0", *texts, limit=limit)
        picture = self.picture()
        await self.main()
        return picture


def _asked(condition: Callable[[], Any]) -> Any:
    # A screen that is just being put together has nothing to ask.
    with contextlib.suppress(LookupError, AttributeError):
        return condition()


@contextlib.asynccontextmanager
async def running(size: tuple[int, int] = SIZE) -> AsyncIterator[Tui]:
    """The stock TUI in this process, on a terminal of that size that nobody sees."""
    from terok.tui.app import TerokTUI

    app = TerokTUI()
    async with app.run_test(size=size) as pilot:
        yield Tui(app, pilot)
