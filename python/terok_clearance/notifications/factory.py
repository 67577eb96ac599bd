"""Chooses a notifier for the desktop that the program runs on."""

from __future__ import annotations

from typing import Any

from terok_clearance.notifications.callback import CallbackNotifier


async def create_notifier(app_name: str = "terok") -> Any:
    """Return a notifier that shows nothing: desktop notifications are not part of this version."""
    return CallbackNotifier()
