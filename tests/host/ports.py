"""Ports for services of a test's own that begin to listen a moment later, or again and again.

Never from the range that the system hands out by itself: there any connection of anybody's may have taken the port by
then. Never from those that the product chooses from either.
"""

from __future__ import annotations

import random
import socket

_OURS = range(11_000, 18_000)


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody has."""
    return free_range(1, address).start


def free_range(size: int, address: str = "127.0.0.1") -> range:
    """So many ports in a row that nobody has."""
    for start in random.sample(_OURS, len(_OURS)):
        if all(_is_free(address, port) for port in range(start, start + size)):
            return range(start, start + size)
    raise AssertionError(f"no {size} ports are free at {address}")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
