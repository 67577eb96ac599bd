"""Kinds of events that a notifier may be asked to show."""

NOTIFY_BLOCKED = "blocked"
NOTIFY_VERDICT = "verdict"
ALL_NOTIFY_CATEGORIES = frozenset(
    {NOTIFY_BLOCKED, NOTIFY_VERDICT, "container_started", "container_exited", "shield_up", "shield_down"}
)
