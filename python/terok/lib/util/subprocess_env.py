"""The environment of Python processes that we start."""

import os
import sys


def child_process_env(overrides: dict[str, str] | None = None) -> dict[str, str]:
    """Return a new environment: ours, *overrides* on top, and always a ``PYTHONPATH`` that finds what we find."""
    return {**os.environ, **(overrides or {}), "PYTHONPATH": os.pathsep.join(sys.path)}
