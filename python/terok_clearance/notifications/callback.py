"""A notifier that hands everything to functions of the program it runs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from terok_native.kept import kept


@kept
@dataclass
class Notification:
    """One message, and the task that it is about."""

    nid: int
    summary: str
    body: str
    actions: list[tuple[str, str]]
    """Pairs of key and label; with any, an answer is waited for."""
    replaces_id: int
    """0, or the message that this one stands for."""
    timeout_ms: int
    container_id: str = ""
    container_name: str = ""
    """What podman calls the container; its full id is the field before."""
    project: str = ""
    task_id: str = ""
    """Empty for containers that are no task's."""
    task_name: str = ""


@kept
class CallbackNotifier:
    """Gives messages and events to callbacks; nothing is called after :meth:`disconnect`."""

    def __init__(
        self, on_notify: Callable[[Notification], Any] | None = None, *,
        on_container_started: Callable[[str], Any] | None = None,
        on_container_exited: Callable[[str, str], Any] | None = None,
        on_shield_up: Callable[[str], Any] | None = None,
        on_shield_down: Callable[[str], Any] | None = None,
        on_shield_disengaged: Callable[[str], Any] | None = None,
    ) -> None:  # fmt: skip
        self._on_notify, self._on_started, self._on_exited = on_notify, on_container_started, on_container_exited
        self._on_up, self._on_down, self._on_disengaged = on_shield_up, on_shield_down, on_shield_disengaged
        self._actions: dict[int, Callable[[str], Any]] = {}
        self._ids, self._connected = count(1), True

    async def notify(
        self, summary: str, body: str = "", *, actions: Sequence[tuple[str, str]] = (), timeout_ms: int = -1,
        hints: Mapping[str, Any] | None = None, replaces_id: int = 0, app_icon: str = "", container_id: str = "",
        container_name: str = "", project: str = "", task_id: str = "", task_name: str = "",
    ) -> int:  # fmt: skip
        """Give one message to the callback; returns its id, that of the replaced one where there is one."""
        nid = replaces_id or next(self._ids)
        message = Notification(
            nid, summary, body, list(actions), replaces_id, timeout_ms, container_id, container_name, project, task_id,
            task_name,
        )  # fmt: skip
        self._call(self._on_notify, message)
        return nid

    async def on_action(self, notification_id: int, callback: Callable[[str], Any]) -> None:
        """Remember what is to be called when an action of the message is chosen."""
        self._actions[notification_id] = callback

    def invoke_action(self, notification_id: int, action_key: str) -> None:
        """Call what was remembered for the message, once."""
        callback = self._actions.pop(notification_id, None)
        if callback is not None:
            callback(action_key)

    async def close(self, notification_id: int) -> None:
        """Forget the message's action."""
        self._actions.pop(notification_id, None)

    async def disconnect(self) -> None:
        """Call nobody any more."""
        self._connected = False
        self._actions.clear()

    async def on_container_started(self, container: str) -> None:
        """Tell that a container runs."""
        self._call(self._on_started, container)

    async def on_container_exited(self, container: str, reason: str) -> None:
        """Tell that a container has ended, and why."""
        self._call(self._on_exited, container, reason)

    async def on_shield_up(self, container: str) -> None:
        """Tell that a container is filtered."""
        self._call(self._on_up, container)

    async def on_shield_down(self, container: str) -> None:
        """Tell that a container is open to public networks."""
        self._call(self._on_down, container)

    async def on_shield_disengaged(self, container: str) -> None:
        """Tell that a container is open to every network."""
        self._call(self._on_disengaged, container)

    def _call(self, callback: Callable[..., Any] | None, *args: Any) -> None:
        if callback is not None and self._connected:
            callback(*args)
