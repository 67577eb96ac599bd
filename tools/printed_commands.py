"""Finds printed commands whose values are not quoted, in Python and in Rust.

A command that a user may paste is made by one function (``terok_util.shell.command_line`` and the native
``base::text::command_line`` behind it) and put into the message as a whole. A string that spells a command itself and
leaves gaps for values is a finding, whatever fills the gap; only constants, by their upper-case names, are no values.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

#: Stands for a gap that a value fills.
GAP = "\0"
PROGRAMS = (
    r"(?:git|podman|docker|terok[a-z-]*|sudo|ssh(?:-[a-z]+)?|scp|cat|rm|mv|cp|ls|ln|mkdir|chmod|chown|kill|tail|less|"
    r"systemctl|journalctl|loginctl|systemd-[a-z]+|usermod|groupadd|pip3?|python3?|apt(?:-get)?|dnf|zypper|pacman|brew|"
    r"curl|wget|nft|ip|unshare|nsenter|npm|npx|cargo|make|mount|umount|fusermount3?|tar|secret-tool|export|newgrp|"
    r"claude|codex|gh|glab|opencode|vibe)"
)
#: In prose a program's name is often a plain word; it begins a command when one of these follows.
VERBS = (
    r"(?:--?[A-Za-z][\w-]*|add|attach|auth|branch|build|checkout|clone|commit|config|create|delete|diff|doctor|exec|"
    r"export|fetch|for-each-ref|gate-sync|image|images|info|init|inspect|install|kill|list|log|login|logs|ls|"
    r"ls-remote|machine|merge|panic|project|ps|pull|push|remote|restart|restore|rm|rmi|run|sandbox|setup|show|ssh|"
    r"ssh-init|start|status|stop|system|task|uninstall|unlock|unshare|vault|volume|worktree)"
)
ASSIGNMENTS = r"(?:[A-Z][A-Z0-9_]*=\S* )*"
#: Between backticks.
QUOTED = re.compile(rf"{ASSIGNMENTS}(?:{PROGRAMS}|\S*/{PROGRAMS}|{GAP})\s.*{GAP}|{GAP} -", re.DOTALL)
#: Elsewhere: up to the end of the clause. What ``sudo`` runs is always a command, our own programs always have a verb,
#: and some programs take none.
BARE = re.compile(
    rf"(?:^|(?<=[\s:('\"])){ASSIGNMENTS}"
    rf"(?:(?:\S*/)?{PROGRAMS} {VERBS}\b|(?:sudo|terok-[a-z]+) \S+|(?:rm|cat|kill|ls|tail|cp|mv) (?={GAP}))"
    rf"(?:(?![:;,](?:\s|$)| \(|[.]\s|\n).)*?{GAP}"
)


def spells_command(template: str) -> bool:
    """Tell whether *template*, a text with :data:`GAP` for its values, spells a command with a gap in it."""
    if GAP not in template:
        return False
    parts = template.split("`")
    inside, outside = parts[1::2], parts[0::2]
    return any(QUOTED.match(part) for part in inside) or any(BARE.search(part) for part in outside)


# Python


def python_findings(source: str) -> Iterator[tuple[int, str]]:
    """Line and template of every finding in a Python file."""
    tree = ast.parse(source)
    silent = _docstrings(tree)
    seen: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in seen or id(node) in silent or not isinstance(node, ast.expr):
            continue
        template = _template(node, seen)
        if template is not None and spells_command(template):
            yield node.lineno, template


def _docstrings(tree: ast.AST) -> set[int]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.add(id(node.value))
    return found


def _template(node: ast.expr, seen: set[int]) -> str | None:
    """The text of a string expression with its gaps; ``None`` for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{\w*(?:![rsa])?(?::[^{}]*)?\}|%[sdr]", GAP, node.value)
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            seen.add(id(part))
            parts.append(str(part.value) if isinstance(part, ast.Constant) else _filled(part))
        return "".join(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _template(node.left, seen), _template(node.right, seen)
        if left is None and right is None:
            return None
        seen |= {id(node.left), id(node.right)}
        return (GAP if left is None else left) + (GAP if right is None else right)
    return _joined(node)


def _filled(part: ast.expr) -> str:
    value = part.value if isinstance(part, ast.FormattedValue) else part
    return value.id if isinstance(value, ast.Name) and value.id.isupper() else GAP


def _joined(node: ast.expr) -> str | None:
    """``" ".join([...])`` of a list that is spelled out, or of an argument list by its name."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join"):
        return None
    separator = node.func.value
    if not (isinstance(separator, ast.Constant) and separator.value == " " and node.args):
        return None
    words = node.args[0]
    if isinstance(words, ast.List | ast.Tuple):
        return " ".join(str(w.value) if isinstance(w, ast.Constant) else GAP for w in words.elts)
    named = words.attr if isinstance(words, ast.Attribute) else words.id if isinstance(words, ast.Name) else ""
    return GAP.join(("`", " -", "`")) if named in {"argv", "command", "cmd"} else None


# Rust

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      | r(?P<hash>\#*)"(?P<raw>.*?)"(?P=hash)
      | b?"(?P<plain>(?:\\.|[^"\\])*)"
      | (?P<char>'(?:\\.[^']*|[^'\\])')""",
    re.DOTALL | re.VERBOSE,
)
_HOLE = re.compile(r"\{\{|\}\}|\{[A-Z][A-Z0-9_]*\}|(\{[^{}]*\})")


def rust_findings(source: str) -> Iterator[tuple[int, str]]:
    """Line and template of every finding in a Rust file; its test module at the end does not count."""
    source = re.split(r"^#\[cfg\(test\)\]\nmod tests \{", source, maxsplit=1, flags=re.MULTILINE)[0]
    for found in _TOKEN.finditer(source):
        text = found["raw"] if found["raw"] is not None else found["plain"]
        if text is None:
            continue
        text = re.sub(r"\\\n\s*", "", text).replace('\\"', '"').replace("\\n", "\n")
        template = _HOLE.sub(lambda hole: GAP if hole[1] else hole[0], text)
        if spells_command(template):
            yield source.count("\n", 0, found.start()) + 1, template


def findings(path: Path) -> Iterator[tuple[int, str]]:
    """Every finding in a file of either language."""
    source = path.read_text(encoding="utf-8")
    return rust_findings(source) if path.suffix == ".rs" else python_findings(source)
