"""Entry point of the ``terok-sandbox`` console script."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

# For annotations only: importing this here would cost every caller.
if TYPE_CHECKING:
    import argparse


def main(argv: list[str] | None = None) -> None:
    """Parse *argv* (default: the process's own), run the verb, exit.

    Exit statuses: 0 done (also for a group without a verb), 1 failed or no verb, 2 wrong usage or unreachable vault,
    3 no service of a supervisor could start, 5 a manual step on the host is needed, 130 interrupted.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["supervisor"] and not {"-h", "--help"} & set(arguments):
        _supervise(arguments[1:])
    import argparse

    from terok_util.cli_types import CommandTree
    from terok_util.ending import carry_out

    from terok_sandbox import __version__
    from terok_sandbox.commands import COMMANDS
    from terok_sandbox.commands.custody import VAULT_CUSTODY
    from terok_sandbox.commands.gate import GATE_MORE
    from terok_sandbox.commands.retired import vault_verbs

    parser = argparse.ArgumentParser(prog="terok-sandbox", description="The sandbox layer below the agents.")
    parser.add_argument("--version", action="version", version=f"terok-sandbox {__version__}")
    tree = COMMANDS.extend_at(("vault",), (*VAULT_CUSTODY, *vault_verbs()))
    tree.extend_at(("gate",), GATE_MORE).wire(parser)
    namespace = _parsed(parser, arguments)
    if getattr(namespace, "_cmd", None) is None:
        group = getattr(namespace, "_group_help", None)
        (group or parser).print_help()
        raise SystemExit(0 if group is not None else 1)
    carry_out(lambda: CommandTree.dispatch(namespace))


def _parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """The parsed arguments; what follows a ``--`` is podman's, and only the verb ``run`` takes it."""
    ours, separator, podmans = arguments, [], []
    if "--" in arguments:
        at = arguments.index("--")
        ours, separator, podmans = arguments[:at], ["--"], arguments[at + 1 :]
    namespace = parser.parse_args(ours)
    command = getattr(namespace, "_cmd", None)
    if command is not None and command.name == "run":
        namespace.podman_args = podmans
    elif separator:
        parser.error("only the verb `run` takes words after `--`")
    return namespace


def _supervise(arguments: list[str]) -> None:
    """Become the supervisor executable; its exit status is ours."""
    import os

    from terok_sandbox.supervisor.install import supervisor_executable

    executable = str(supervisor_executable())
    os.execv(executable, [executable, "supervisor", *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
