"""The firewall's command table. Each command is refused in this version; the table keeps its shape."""

from __future__ import annotations

from collections.abc import Callable

from terok_util.cli_types import ArgDef, CommandDef
from terok_util.later import refuse_command

_CONTAINER = {"needs_container": True}
_ALONE = {"standalone_only": True}
_BOTH = {**_CONTAINER, **_ALONE}
_ALL = ArgDef("--all", help="open private networks as well", action="store_true", dest="allow_all")
_ID = ArgDef("--container-id", help="full id of the container", required=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


_TARGET = ArgDef("target", help="name or address that is meant")
_MANY = ArgDef("-n", help="how many events to print", type=int, default=50)
_ONE = ArgDef("container", help="the container, instead of all of them", nargs="?")
_PROFILES = ArgDef("--profiles", help="names of allow lists, separated by commas", type=_names)


def _handler(name: str) -> Callable[..., None]:
    def handle(shield: object, container: str | None = None, **_: object) -> None:
        raise refuse_command(f"`shield {name}`: the egress firewall")

    return handle


def _command(name: str, text: str, *args: ArgDef, extras: dict[str, bool] | None = None) -> CommandDef:
    alone = bool(extras and extras.get("standalone_only"))
    return CommandDef(name, help=text, handler=None if alone else _handler(name), args=args, extras=extras or {})


COMMANDS: tuple[CommandDef, ...] = (
    _command("status", "what the firewall does", _ONE),
    _command(
        "prepare", "print the podman options of a container to be", _PROFILES,
        ArgDef("--json", help="JSON output", action="store_true", dest="output_json"), extras=_BOTH,
    ),
    _command("run", "run a container behind the firewall", _PROFILES, extras=_BOTH),
    _command(
        "resolve", "look the allowed names up again",
        ArgDef("--force", help="Bypass cache freshness", action="store_true"), extras=_BOTH,
    ),
    _command("allow", "let one name or address through", _TARGET, extras=_CONTAINER),
    _command("deny", "stop one name or address", _TARGET, extras=_CONTAINER),
    _command("down", "let everything public through", _ID, _ALL, extras=_CONTAINER),
    _command("up", "filter again what was let through", _ID, extras=_CONTAINER),
    _command("quarantine", "stop everything at once", extras=_CONTAINER),
    _command("rules", "print the rules in force", extras=_CONTAINER),
    _command("watch", "show refused connections as they happen", extras=_CONTAINER),
    _command("simple-clearance", "judge refused connections in this terminal", extras=_CONTAINER),
    _command("logs", "print the last events", _MANY, extras=_CONTAINER),
    _command("profiles", "list the allow lists"),
    _command("setup", "install what the firewall needs on this host", extras=_ALONE),
    _command("check-environment", "say what the firewall finds on this host"),
    _command(
        "preview", "print rules without applying them",
        ArgDef("--down", help="Show bypass ruleset", action="store_true"), _ALL,
    ),
)  # fmt: skip


def shield_needs_container(cmd: CommandDef) -> bool:
    """Tell whether the command is about one container."""
    return bool(cmd.extras.get("needs_container"))


def shield_standalone_only(cmd: CommandDef) -> bool:
    """Tell whether only the firewall's own program offers the command."""
    return bool(cmd.extras.get("standalone_only"))
