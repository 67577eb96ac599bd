"""A process that forks while another of its threads works: the child finds nothing locked for ever."""

from __future__ import annotations

import subprocess
import sys

from domain_house import House

#: The thread waits for git, and what it learns belongs to all threads.
FORK = """
import os, signal, sys, threading, time
from terok.lib.core.projects import load_project

begun, go = sys.argv[1:]
threading.Thread(target=load_project, args=("demo",), daemon=True).start()
deadline = time.monotonic() + 60
while not os.path.exists(begun):
    assert time.monotonic() < deadline, "git was not asked"
    time.sleep(0.01)
child = os.fork()
if child == 0:
    signal.alarm(60)
    open(go, "w").close()
    os._exit(0 if load_project("demo").human_name == "Ann" else 3)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == 0, f"the child ended with {status}"
"""


def test_a_child_forked_while_a_thread_looks_at_a_project_can_look_as_well(house: House) -> None:
    house.project()
    begun, go = house.root / "begun", house.root / "go"
    (house.root / "home/.gitconfig").write_text("[user]\nname = x\n")
    git = house.podman.folder / "git"
    git.write_text(f'#!/bin/sh\n: > {begun}\nwhile [ ! -e {go} ]; do sleep 0.05; done\nprintf "user.name\\nAnn\\0"\n')
    git.chmod(0o755)
    argv = [sys.executable, "-W", "ignore", "-c", FORK, str(begun), str(go)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
