"""Asking a person for the passphrase, and showing one, on the terminal and never on standard output."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

_END_OF_INPUT = "\x04"
_ERASE = "\x7f\x08"
_KILL_LINE = "\x15"


def ask(*, confirm: bool = False) -> str:
    """See :func:`terok_sandbox.vault.store.encryption.prompt_passphrase`."""
    if sys.stdin is None or not sys.stdin.isatty():
        line = sys.stdin.readline() if sys.stdin is not None else ""
        return _not_empty(line.rstrip("\r\n"))
    try:
        entered = hidden("Vault passphrase (empty: make one): " if confirm else "Vault passphrase: ").strip()
        if confirm and not entered:
            return mint()
        _not_empty(entered)
        if confirm and hidden("Again: ").strip() != entered:
            raise ValueError("the two entries differ")
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("no passphrase entered") from None
    return entered


def mint(*, echo: bool = False) -> str:
    """Make a new passphrase and show it once: on the terminal, or on standard output with *echo*.

    Raises:
        SystemExit: there is no terminal to show it on.
    """
    from terok_sandbox.vault.store.encryption import generate_passphrase

    passphrase = generate_passphrase()
    text = f"new vault passphrase (keep a copy off this host): {passphrase}\n"
    if echo:
        sys.stdout.write(text)
    elif not show(text):
        raise SystemExit("a new passphrase cannot be shown: there is no terminal")
    return passphrase


def show(text: str) -> bool:
    """Write *text* on the controlling terminal; ``False`` when there is none."""
    try:
        with _terminal() as terminal:
            terminal.write(text)
    except OSError:
        return False
    return True


def ask_word(question: str) -> str:
    """Ask for one visible word on the controlling terminal; empty when there is none or the input ended."""
    try:
        with _terminal() as terminal:
            terminal.write(question)
            terminal.flush()
            return terminal.readline().strip()
    except (OSError, KeyboardInterrupt):
        return ""


def _terminal() -> IO[str]:
    # Unbuffered below: a terminal cannot seek, which a buffered reader and writer in one would want to.
    import io

    raw = io.FileIO(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), "r+")
    both: Any = io.BufferedRWPair(raw, raw)
    return io.TextIOWrapper(both, encoding="utf-8", write_through=True)


def hidden(question: str) -> str:
    """Read a line from standard input, a terminal, showing one ``*`` per character.

    Raises:
        EOFError: the input ended before a character was entered.
        KeyboardInterrupt: Ctrl-C.
    """
    source = sys.stdin.fileno()
    with _unechoed(source), _screen() as screen:
        screen.write(question)
        screen.flush()
        try:
            return _line(source, screen)
        finally:
            screen.write("\n")
            screen.flush()


def _line(source: int, screen: IO[str]) -> str:
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    entered: list[str] = []
    while True:
        piece = os.read(source, 1)
        for character in decode(piece, final=not piece) or ("" if piece else _END_OF_INPUT):
            if character in "\r\n" or (character == _END_OF_INPUT and entered):
                return "".join(entered)
            if character == _END_OF_INPUT:
                raise EOFError
            if character in _ERASE:
                screen.write("\b \b" * len(entered[-1:]))
                del entered[-1:]
            elif character == _KILL_LINE:
                screen.write("\b \b" * len(entered))
                entered.clear()
            elif character.isprintable():
                entered.append(character)
                screen.write("*")
            screen.flush()


@contextlib.contextmanager
def _unechoed(source: int) -> Iterator[None]:
    import termios

    before = termios.tcgetattr(source)
    changed = termios.tcgetattr(source)
    changed[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(source, termios.TCSAFLUSH, changed)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSAFLUSH, before)


@contextlib.contextmanager
def _screen() -> Iterator[IO[str]]:
    """The terminal, or standard error where it cannot be opened by name."""
    try:
        terminal = _terminal()
    except OSError:
        yield sys.stderr
        return
    with terminal:
        yield terminal


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("the passphrase is empty")
    return text
