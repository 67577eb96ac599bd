"""Entry point of the ``terok-executor`` console script.

The options in front of the verb are applied before anything reads the configuration, so that they hold for all of it.
"""

from __future__ import annotations

import os
import sys

from terok_util.ending import carry_out

from terok_executor._outline import VERBS

# A constant of our own: type checkers know it by its name, and `typing` costs time to load.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Action, ArgumentParser, Namespace

    from terok_util.cli_types import CommandTree

_VERSION_HELP = "show program's version number and exit"
_ALIASES = {"-p": "-p/--prompt", "-m": "-m/--model"}


def main(argv: list[str] | None = None) -> None:
    """Parse *argv* (default: the process's own), run the verb, exit.

    Exit statuses: 0 done, 1 failed or no verb, 2 wrong usage, 3 set-up needed, 4 downgrade refused, 5 a manual step on
    the host is needed, 130 interrupted; a followed run ends with the agent's own status.
    """
    words = sys.argv[1:] if argv is None else argv
    verb = _asked(words)
    parser = _parser(verb)
    namespace = parser.parse_args(words)
    _apply_config_options(namespace)
    if verb == "list":
        from terok_executor.container import listing

        carry_out(listing.show)
        return
    if getattr(namespace, "_cmd", None) is None:
        group = getattr(namespace, "_group_help", None)
        (group or parser).print_help()
        raise SystemExit(0 if group is not None else 1)
    from terok_util.cli_types import CommandTree

    carry_out(lambda: CommandTree.dispatch(namespace))


def _asked(words: list[str]) -> str | None:
    """The verb of a command line; empty when it ends, or asks for help, before one; ``None`` when that is not plain."""
    rest = iter(words)
    for word in rest:
        if word == "--config":
            next(rest, None)
        elif word in ("-h", "--help"):
            return ""
        elif not word.startswith("-"):
            return word if word in VERBS else None
        elif word != "--raw" and not word.startswith("--config="):
            return None
    return ""


def _parser(verb: str | None) -> ArgumentParser:
    """A parser for one verb; the others are known to it by name only, as each costs time. ``None`` means all."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="terok-executor",
        description="Run AI coding agents in hardened, supervised containers.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=_width()),
    )
    parser.add_argument("--version", action=_version_action(argparse.Action), nargs=0, help=_VERSION_HELP)
    parser.add_argument("--config", metavar="PATH", help="read this configuration file instead of the usual ones")
    parser.add_argument("--raw", action="store_true", help="ignore every configuration file")
    if verb is None or verb not in ("", "list"):
        _wire(parser, verb)
        return parser
    verbs = parser.add_subparsers()
    for name, text in VERBS.items():
        verbs.add_parser(name, help=text, formatter_class=parser.formatter_class)
    return parser


def _width() -> int:
    """Columns for help, less a margin of 2; the usual way to ask loads several archive modules."""
    try:
        return (int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size().columns or 80) - 2
    except (ValueError, OSError):
        return 78


def _wire(parser: ArgumentParser, verb: str | None) -> None:
    from terok_util.cli_types import CommandDef, CommandTree

    from terok_executor._tree import COMMANDS

    tree = _with_extras(COMMANDS)
    if verb is not None:
        tree = CommandTree(
            node if node.name == verb else CommandDef(name=node.name, help=node.help) for node in tree.roots
        )
    tree.wire(parser)


def _version_action(base: type[Action]) -> type[Action]:
    """An option that prints the version; the version is looked up only then."""

    def show(_self: Action, parser: ArgumentParser, *_rest: object) -> None:
        print(f"terok-executor {_version()}")
        parser.exit()

    return type("Version", (base,), {"__call__": show})


def _with_extras(tree: CommandTree) -> CommandTree:
    """The tree as typed by people: long option names, the log verb, what set-up, builds and the vault take besides."""
    from dataclasses import replace

    from terok_sandbox.commands.custody import VAULT_CUSTODY
    from terok_util.cli_types import ArgDef, CommandTree

    from terok_executor.commands import LOGS_COMMAND

    tier = ArgDef(name="--passphrase-tier", help="systemd-creds, keyring, session-file or config")
    packages = ArgDef(
        name="--from-packages", action="store_true", help="Make a Debian base image here, without an image registry"
    )
    force = ArgDef(name="--force", action="store_true", help="Also logins that are exposed on purpose")
    roots = []
    for node in tree.roots:
        if node.name == "run":
            node = replace(node, args=tuple(replace(a, name=_ALIASES.get(a.name, a.name)) for a in node.args))
        elif node.name == "setup":
            node = replace(node, args=(*node.args, tier))
        elif node.name == "build":
            node = replace(node, args=(*node.args, packages))
        elif node.name == "vault":
            children = (replace(c, args=(*c.args, force)) if c.name == "clean" else c for c in node.children)
            node = replace(node, children=(*children, *VAULT_CUSTODY))
        roots.append(node)
        if node.name == "list":
            roots.append(LOGS_COMMAND)
    return CommandTree(tuple(roots))


def _apply_config_options(namespace: Namespace) -> None:
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
