"""The podman back end on real rootless containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

InLane = Callable[[str], Any]

HEAD = """
import io, os, subprocess, tempfile, time
from pathlib import Path
from terok_sandbox.runtime import PodmanRuntime
IMAGE = "localhost/busybox:test"
rt = PodmanRuntime()
def start(name, *command):
    subprocess.run(["podman", "rm", "-f", "-t", "0", name], capture_output=True)
    run = ["podman", "run", "-d", "--name", name, IMAGE, *command]
    subprocess.run(run, check=True, capture_output=True)
    return rt.container(name)
"""


def test_life_of_a_container(in_lane: InLane) -> None:
    told = in_lane(
        HEAD
        + """
c = start("rt-life", "sh", "-c", "echo out; echo err >&2; sleep 300")
told = {"running": (c.state, c.running), "states": rt.container_states("rt"), "names": [x.name for x in rt.containers_with_prefix("rt")]}
told["ready"] = c.stream_initial_logs(lambda line: line == "err", 10)
with tempfile.TemporaryDirectory() as source:
    (Path(source) / "sub").mkdir()
    (Path(source) / "sub/f").write_text("x" * 5000)
    c.copy_in(Path(source), "/root")
told["copied"] = rt.exec(c, ["cat", "/root/sub/f"]).stdout == "x" * 5000
told["size"] = c.rw_size >= 5000 and rt.container_rw_sizes("rt")["rt-life"] >= 5000
told["failing"] = rt.exec(c, ["sh", "-c", "exit 9"]).exit_code
out = io.BytesIO()
told["stdio"] = (rt.exec_stdio(c, ["cat"], stdin=io.BytesIO(b"z" * 300000), stdout=out), len(out.getvalue()))
c.stop(timeout=0)
told["stopped"] = (c.state, c.wait(10), c.wait(10))
with c.logs() as stream: told["lines"] = sorted(stream)
told["removed"] = [r.removed for r in rt.force_remove([c, rt.container("rt-never")])]
told["gone"] = (c.state, c.rw_size, c.image)
tell(told)
"""
    )
    assert told == {
        "running": ["running", True],
        "states": {"rt-life": "running"},
        "names": ["rt-life"],
        "ready": True,
        "copied": True,
        "size": True,
        "failing": 9,
        "stdio": [0, 300000],
        "stopped": ["exited", 137, 137],
        "lines": ["err", "out"],
        "removed": [True, True],
        "gone": [None, None, None],
    }


def test_statuses_of_programs_are_told_as_they_are(in_lane: InLane) -> None:
    codes = in_lane(
        HEAD
        + """
told = []
for code in (0, 3, 124, 125):
    c = start("rt-exit", "sh", "-c", f"exit {code}")
    told.append(c.wait(20))
    rt.force_remove([c])
tell(told)
"""
    )
    assert codes == [0, 3, 124, 125]


def test_images(in_lane: InLane) -> None:
    told = in_lane(
        HEAD
        + """
image = rt.image(IMAGE)
listed = [i for i in rt.images() if i.repository == "localhost/busybox"]
c = start("rt-img", "sleep", "300")
subprocess.run(["podman", "commit", "-q", "--change", "LABEL a=b", "rt-img", "localhost/labelled:1"], check=True, capture_output=True)
mine = rt.image("localhost/labelled:1")
told = {"id": listed[0].ref == "sha256:" + image.id == "sha256:" + c.image.ref, "exists": (image.exists(), rt.image("localhost/no:1").exists())}
told["in use"] = image.remove()
told["labels"] = mine.labels().get("a")
told["history"] = len(mine.history()) >= 1
told["name of a container"] = rt.image("rt-img").id
rt.force_remove([c])
told["removed"] = (mine.remove(), mine.exists())
tell(told)
"""
    )
    assert told == {
        "id": True,
        "exists": [True, False],
        "in use": False,
        "labels": "b",
        "history": True,
        "name of a container": None,
        "removed": [True, False],
    }
