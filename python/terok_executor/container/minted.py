"""Which phantom tokens this process has minted, and for whom.

Environment assembly mints them, the launch writes their binding into the container's sidecar, so that its supervisor
honours no other container's tokens. Between the two there may be a caller who only hands the variables on; hence the
memory. It holds no more than the last few thousand and forgets a token once it was asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "terok-p-"
_KEPT = 4096


@dataclass(frozen=True)
class Binding:
    """What the tokens of one container are bound to, and the credential set they read."""

    scope: str
    subject: str
    credential_set: str


_lock = threading.Lock()
_known: OrderedDict[str, Binding] = OrderedDict()


def remember(token: str, binding: Binding) -> None:
    """Note the binding of a token that was just minted."""
    with _lock:
        _known[token] = binding
        while len(_known) > _KEPT:
            _known.popitem(last=False)


def binding_of(env: Mapping[str, str]) -> Binding | None:
    """The binding that all known tokens among the values share; ``None`` when there is none, or more than one."""
    found = set()
    with _lock:
        for value in env.values():
            if value.startswith(_PREFIX) and (binding := _known.pop(value, None)):
                found.add(binding)
    return found.pop() if len(found) == 1 else None
