"""Gate tokens."""

from __future__ import annotations

import secrets


def mint_gate_token() -> str:
    """A fresh token: ``terok-g-`` and 32 lower-case hex characters from the system's random source."""
    return "terok-g-" + secrets.token_hex(16)
