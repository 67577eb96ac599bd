"""Entry point of the ``terok-executor`` console script.

The options in front of the verb are applied before anything reads the configuration, so that they hold for all of it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

_ALIASES = {"-p": "-p/--prompt", "-m": "-m/--model"}


def main(argv: list[str] | None = None) -> None:
    """Parse *argv* (default: the process's own), run the verb, exit.

    Exit statuses: 0 done, 1 failed or no verb, 2 wrong usage, 3 set-up needed, 4 downgrade refused, 5 a manual step on
    the host is needed, 130 interrupted; a followed run ends with the agent's own status.
    """
    from terok_util.cli_types import CommandTree

    parser = _parser()
    namespace = parser.parse_args(argv)
    _apply_config_options(namespace)
    if getattr(namespace, "_cmd", None) is None:
        group = getattr(namespace, "_group_help", None)
        (group or parser).print_help()
        raise SystemExit(0 if group is not None else 1)
    try:
        CommandTree.dispatch(namespace)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader went away; a traceback at interpreter exit would only add noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        _end_with_message(error)


def _end_with_message(error: Exception) -> None:
    """One readable message instead of a traceback for failures that have a name; others stay loud."""
    if isinstance(error, (OSError, RuntimeError, ValueError)) and not os.environ.get("TEROK_DEBUG"):
        raise SystemExit(str(error)) from error
    raise error


def _parser():
    import argparse

    from terok_executor._tree import COMMANDS

    parser = argparse.ArgumentParser(
        prog="terok-executor", description="Run AI coding agents in hardened, supervised containers."
    )
    parser.add_argument("--version", action="version", version=f"terok-executor {_version()}")
    parser.add_argument("--config", metavar="PATH", help="read this configuration file instead of the usual ones")
    parser.add_argument("--raw", action="store_true", help="ignore every configuration file")
    _with_extras(COMMANDS).wire(parser)
    return parser


def _with_extras(tree):
    """The tree as typed by people: long option names, the log verb, the passphrase tier for set-up."""
    from terok_util.cli_types import ArgDef, CommandTree

    from terok_executor.commands import LOGS_COMMAND

    tier = ArgDef(name="--passphrase-tier", help="Where the vault passphrase is kept: session-file or config")
    roots = []
    for node in tree.roots:
        if node.name == "run":
            node = replace(node, args=tuple(replace(a, name=_ALIASES.get(a.name, a.name)) for a in node.args))
        elif node.name == "setup":
            node = replace(node, args=(*node.args, tier))
        roots.append(node)
        if node.name == "list":
            roots.append(LOGS_COMMAND)
    return CommandTree(tuple(roots))


def _apply_config_options(namespace) -> None:
    if namespace.raw:
        os.environ["TEROK_CONFIG_FILE"] = os.devnull
    elif namespace.config:
        os.environ["TEROK_CONFIG_FILE"] = namespace.config


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("terok-executor")
    except PackageNotFoundError:
        return "0.0.0"


if __name__ == "__main__":
    main()
