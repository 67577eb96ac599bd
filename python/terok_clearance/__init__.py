"""Names of the live verdicts on egress: notifications, subscribers, services.

There is no firewall in this version that would ask for a verdict: subscribing is refused in one line, while notifiers
and their values work.
"""

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

__all__ = sorted(_HOMES)


def __getattr__(name: str):  # type: ignore[no-untyped-def] # anything; `typing` is not loaded for one word
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    path = module[1:] if module.startswith("/") else f"{__name__}.{module}"
    value = globals()[name] = getattr(import_module(path), attribute or name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
