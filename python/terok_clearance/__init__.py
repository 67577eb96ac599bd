"""Names of the live verdicts on egress: notifications, subscribers, services.

There is no firewall in this version that would ask for a verdict: subscribing is refused in one line, while notifiers
and their values work.
"""

from terok_util.lazy import lazily

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

__all__, __getattr__, __dir__ = lazily(__name__, _HOMES)
