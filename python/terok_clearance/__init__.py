"""Names of the live verdicts on egress: notifications, subscribers, services.

There is no firewall in this version that would ask for a verdict: subscribing is refused in one line, while notifiers
and their values work.
"""

from terok_util.lazy import Lazily

_HOMES = {
    "ALL_NOTIFY_CATEGORIES": "category",
    "COMMANDS": "commands",
    "CallbackNotifier": "notifications.callback",
    "EventSubscriber": "client.subscriber",
    "HUB_UNIT_NAME": "runtime.installer",
    "HubService": "runtime.installer",
    "MultiSocketSubscriber": "client.subscriber",
    "NOTIFIER_UNIT_NAME": "runtime.installer",
    "NOTIFY_BLOCKED": "category",
    "NOTIFY_VERDICT": "category",
    "Notification": "notifications.callback",
    "NotifierService": "runtime.installer",
    "check_clearance_units_outdated": "runtime.installer",
    "clearance_outdated_summary": "runtime.installer",
    "create_notifier": "notifications.factory",
    "read_installed_notifier_unit_version": "runtime.installer",
    "read_installed_unit_version": "runtime.installer",
}

_lazily = Lazily(__name__, _HOMES)
__all__ = sorted(_HOMES)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    return _lazily.find(name)


def __dir__() -> list[str]:
    return _lazily.names()
