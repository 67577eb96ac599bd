"""Importing the library: cheap, without side effects, and the second time the same classes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys, threading
before = set(sys.modules)
import terok.lib.api
from terok.lib.api import agents, clearance, gate, project, setup, shield, task, vault
new = set(sys.modules) - before
assert not {m for m in new if m.split(".")[0] in ("pydantic", "yaml", "ruamel", "subprocess", "asyncio", "typing")}, new
for name in terok.lib.api.__all__:
    getattr(terok.lib.api, name)
assert threading.active_count() == 1
print(sorted(os.listdir(os.environ["HOME"])))
"""

AGAIN = """
import enum, sys
import terok.lib.api as first
classes = {n: getattr(first, n) for n in first.__all__ if isinstance(getattr(first, n), type)}
assert len(classes) > 50
for name in [m for m in sys.modules if m.split(".")[0].startswith("terok") and not m.startswith("terok_native")]:
    del sys.modules[name]
import terok.lib.api as second
assert second is not first
twins = [n for n, c in classes.items() if getattr(second, n) is not c]
print(twins)
"""


def run(program: str, home: Path) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TEROK_", "XDG_"))} | {"HOME": str(home)}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout


def test_importing_every_name_touches_nothing_and_loads_little(tmp_path: Path) -> None:
    assert run(PROGRAM, tmp_path).strip() == "[]"


# improves: 40-11-same-classes
def test_classes_are_the_same_after_a_second_import(tmp_path: Path) -> None:
    assert run(AGAIN, tmp_path).strip() == "[]"
