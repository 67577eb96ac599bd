"""The command table of the live verdicts. Each command is refused in this version; the table keeps its shape."""

from __future__ import annotations

from collections.abc import Callable

from terok_util.cli_types import ArgDef, CommandDef
from terok_util.later import refuse_command


def _handler(name: str) -> Callable[..., None]:
    def handle(**_: object) -> None:
        raise refuse_command(f"`clearance {name}`: live judgement of egress")

    return handle


def _command(name: str, text: str, *args: ArgDef) -> CommandDef:
    return CommandDef(name, help=text, handler=_handler(name), args=args)


COMMANDS: tuple[CommandDef, ...] = (
    _command(
        "notify", "show one desktop notification",
        ArgDef("summary", help="Notification title"),
        ArgDef("body", help="Notification body text", nargs="?", default=""),
        ArgDef("-t/--timeout", help="milliseconds; -1: the desktop decides", type=int, default=-1, dest="timeout"),
    ),
    _command("serve", "run the hub that collects events"),
    _command("serve-verdict", "run the service that applies verdicts"),
    _command("clearance", "judge blocked connections in this terminal"),
)  # fmt: skip
