"""SSH keys of a project: what was made, told to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["summarize_ssh_init"]


def summarize_ssh_init(result: Mapping[str, Any]) -> None:
    """Print the key that was made or found, and the line to register with the forge."""
    print(f"SSH key {result['key_id']} ({result['key_type']})")
    print(f"  fingerprint: {result['fingerprint']}")
    print(f"  comment:     {result['comment']}")
    print("Register this public key where the repository is hosted, with write access if agents push:")
    print(f"  {result['public_line']}", flush=True)
