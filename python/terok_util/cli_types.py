"""Command trees: what a command line offers, apart from how it is parsed.

A *leaf* has a handler, a *group* has children; nesting is free. Trees are values: every change gives a new tree, and
nodes that were not touched stay the same objects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from terok_native.kept import kept

if TYPE_CHECKING:
    import argparse


@kept
@dataclass(frozen=True)
class ArgDef:
    """One argument; *name* may hold several spellings separated by ``/`` (``-t/--timeout``)."""

    name: str
    help: str = ""
    #: Converter of the given text.
    type: Callable[[str], Any] | None = None
    default: Any = None
    #: The following four are handed to ``add_argument`` unless they are ``None``.
    action: str | None = None
    dest: str | None = None
    nargs: int | str | None = None
    #: Counts for options only; positional arguments say it with *nargs*.
    required: bool = False


@kept
@dataclass(frozen=True)
class CommandDef:
    """One node; *group* is only a tag, *extras* belongs to whoever composes trees."""

    name: str
    help: str = ""
    #: Called with one keyword for each argument; ``None`` for a group.
    handler: Callable[..., Any] | None = None
    args: tuple[ArgDef, ...] = ()
    #: Commands below this one.
    children: tuple[CommandDef, ...] = ()
    group: str = ""
    #: Printed below the options exactly as written.
    epilog: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_group(self) -> bool:
        """True when the node has children."""
        return bool(self.children)

    def with_handler(self, handler: Callable[..., Any]) -> CommandDef:
        """Return a copy with another handler."""
        return replace(self, handler=handler)

    def with_children(self, children: tuple[CommandDef, ...]) -> CommandDef:
        """Return a copy with other children."""
        return replace(self, children=tuple(children))


class KeyRow(NamedTuple):
    """One SSH key as listings show it."""

    scope: str
    comment: str
    key_type: str
    #: ``SHA256:`` and base64 without padding.
    fingerprint: str
    private_key: str
    #: One line as in ``authorized_keys``.
    public_key: str


@kept
class CommandTree:
    """An ordered collection of root nodes."""

    def __init__(self, roots: Iterable[CommandDef]) -> None:
        self._roots = roots if isinstance(roots, tuple) else tuple(roots)

    @property
    def roots(self) -> tuple[CommandDef, ...]:
        """The root nodes in the order of declaration."""
        return self._roots

    def __iter__(self) -> Iterator[CommandDef]:
        return iter(self._roots)

    def __len__(self) -> int:
        return len(self._roots)

    def __add__(self, other: CommandTree | Iterable[CommandDef]) -> CommandTree:
        return CommandTree((*self._roots, *other))

    def find_at(self, path: Sequence[str]) -> CommandDef:
        """Return the node at *path*; ``KeyError`` when the path is empty or leads nowhere."""
        nodes, found = self._roots, None
        for segment in path:
            found = next((node for node in nodes if node.name == segment), None)
            if found is None:
                break
            nodes = found.children
        if found is None:
            raise KeyError(tuple(path))
        return found

    def walk(self) -> Iterator[tuple[tuple[str, ...], CommandDef]]:
        """Yield ``(path, node)`` depth first, parents before their children."""
        yield from _walk((), self._roots)

    def overlay(self, overrides: Mapping[tuple[str, ...], Callable[..., Any]]) -> CommandTree:
        """Return a tree with the handlers at the given paths replaced; paths that lead nowhere are ignored."""
        wanted = {tuple(path): handler for path, handler in overrides.items()}
        # A node spliced in at several places shows its new handler at all of them.
        by_node = {id(node): wanted[path] for path, node in self.walk() if path in wanted}
        return CommandTree(_overlaid(self._roots, by_node))

    def extend_at(self, path: Sequence[str], additions: Iterable[CommandDef]) -> CommandTree:
        """Return a tree with *additions* behind the children of the group at *path*; an empty path means the roots.

        Raises ``KeyError`` for a path that leads nowhere, ``TypeError`` when it leads to a leaf.
        """
        additions = tuple(additions)
        if not path:
            return CommandTree((*self._roots, *additions))
        if self.find_at(path).handler is not None:
            raise TypeError(f"cannot add commands below `{' '.join(path)}`: it is a command, not a group")
        return CommandTree(_extended(self._roots, tuple(path), additions))

    def wire(self, target: argparse.ArgumentParser | argparse._SubParsersAction) -> None:
        """Add every node to *target*, an ``ArgumentParser`` or what its ``add_subparsers`` returned."""
        subparsers = target if hasattr(target, "add_parser") else target.add_subparsers()
        for node in self._roots:
            _wire_node(subparsers, node)

    @staticmethod
    def dispatch(args: argparse.Namespace) -> None:
        """Call the handler that parsing chose, with its arguments as keywords.

        A coroutine is run to its end. Exits with status 2 when no command was chosen, and with the handler's result
        when the command is marked with ``extras={"exit_status": True}`` and that is a number other than 0.
        """
        command = getattr(args, "_cmd", None)
        if command is None:
            raise SystemExit(2)
        if command.handler is None:
            raise SystemExit(f"command `{command.name}` does nothing by itself: choose one of its sub-commands")
        result = command.handler(**_keywords(command, args))
        if hasattr(result, "__await__"):
            import asyncio

            result = asyncio.run(result)
        if getattr(command, "extras", {}).get("exit_status") and isinstance(result, int) and result:
            sys.exit(int(result))


def _walk(prefix: tuple[str, ...], nodes: tuple[CommandDef, ...]) -> Iterator[tuple[tuple[str, ...], CommandDef]]:
    for node in nodes:
        path = (*prefix, node.name)
        yield path, node
        yield from _walk(path, node.children)


def _overlaid(nodes: tuple[CommandDef, ...], by_node: dict[int, Any]) -> tuple[CommandDef, ...]:
    new = tuple(_overlaid_node(node, by_node) for node in nodes)
    return nodes if all(a is b for a, b in zip(new, nodes, strict=True)) else new


def _overlaid_node(node: CommandDef, by_node: dict[int, Any]) -> CommandDef:
    key, children = id(node), _overlaid(node.children, by_node)
    if children is not node.children:
        node = replace(node, children=children)
    return replace(node, handler=by_node[key]) if key in by_node else node


def _extended(
    nodes: tuple[CommandDef, ...], path: tuple[str, ...], additions: tuple[CommandDef, ...]
) -> tuple[CommandDef, ...]:
    first = next(index for index, node in enumerate(nodes) if node.name == path[0])
    node, rest = nodes[first], path[1:]
    children = _extended(node.children, rest, additions) if rest else (*node.children, *additions)
    return (*nodes[:first], replace(node, children=children), *nodes[first + 1 :])


def _wire_node(subparsers: Any, node: Any) -> None:
    keywords: dict[str, Any] = {"help": node.help}
    epilog = getattr(node, "epilog", "")
    if epilog:
        from argparse import RawDescriptionHelpFormatter

        keywords.update(epilog=epilog, formatter_class=RawDescriptionHelpFormatter)
    parser = subparsers.add_parser(node.name, **keywords)
    for argument in getattr(node, "args", ()):
        _wire_argument(parser, argument)
    children = getattr(node, "children", ())
    if children:
        parser.set_defaults(_group_help=parser)
        nested = parser.add_subparsers()
        for child in children:
            _wire_node(nested, child)
    if node.handler is not None:
        parser.set_defaults(_cmd=node)


def _wire_argument(parser: argparse.ArgumentParser, argument: Any) -> None:
    given = {key: getattr(argument, key, None) for key in ("type", "default", "action", "dest", "nargs")}
    keywords: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if getattr(argument, "help", ""):
        keywords["help"] = argument.help
    if argument.name.startswith("-") and getattr(argument, "required", False):
        keywords["required"] = True
    parser.add_argument(*argument.name.split("/"), **keywords)


def _destination(argument: Any) -> str:
    spelled = max(argument.name.split("/"), key=len).lstrip("-")
    return getattr(argument, "dest", None) or spelled.replace("-", "_")


def _keywords(command: Any, namespace: argparse.Namespace) -> dict[str, Any]:
    destinations = {_destination(argument): argument for argument in getattr(command, "args", ())}
    keywords = {
        name: getattr(namespace, name, getattr(argument, "default", None)) for name, argument in destinations.items()
    }
    if hasattr(namespace, "podman_args"):
        keywords["podman_args"] = namespace.podman_args
    return keywords
