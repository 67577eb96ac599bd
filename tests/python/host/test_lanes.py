"""Each lane runs real containers: hooks, copies, exec, logs, wait, identities and limits."""

import json
import time
import uuid

import pytest
from host.processes import until
from lane import IMAGE, LANES


@pytest.fixture(params=LANES)
def lane(request):
    return LANES[request.param].require()


@pytest.fixture
def name(lane):
    """A container name of this test alone; whatever has it is removed afterwards."""
    name = f"lane-{uuid.uuid4().hex[:8]}"
    yield name
    lane.run("podman", "rm", "-f", "-t", "0", name, check=False)


@pytest.fixture
def hooks(lane_folder):
    """A hooks directory whose createRuntime hook saves the state it was given."""
    program = lane_folder / "hook"
    state = lane_folder / "state.json"
    program.write_text(f"#!/bin/sh\numask 022\ncat >{state}.new && mv {state}.new {state}\n")
    program.chmod(0o755)
    folder = lane_folder / "hooks"
    folder.mkdir()
    (folder / "probe.json").write_text(
        json.dumps(
            {
                "version": "1.0.0",
                "hook": {"path": str(program)},
                "stages": ["createRuntime"],
                "when": {"annotations": {"^lane-probe$": "^yes$"}},
            }
        )
    )
    return folder


def appears(path, seconds=60.0):
    """Wait for a file that another process writes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not path.exists():
        time.sleep(0.05)
    return path.exists()


def test_a_container_runs_and_its_status_comes_back(lane, name):
    done = lane.run(
        "podman",
        "run",
        "--name",
        name,
        IMAGE,
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr.endswith("err\n")


def test_the_hook_fires_for_its_annotation_only(lane, name, hooks, lane_folder):
    run = ("podman", "--hooks-dir", hooks, "run", "--name")
    lane.run(*run, f"{name}-plain", "--rm", IMAGE, "true")
    assert not (lane_folder / "state.json").exists()
    lane.run(*run, name, "--annotation", "lane-probe=yes", IMAGE, "true")
    assert appears(lane_folder / "state.json")
    state = json.loads((lane_folder / "state.json").read_text())
    inspected = json.loads(lane.run("podman", "inspect", name).stdout)[0]
    assert state["id"] == inspected["Id"]
    assert state["pid"] > 1
    assert state["annotations"]["lane-probe"] == "yes"


def run_with_hooks(lane, name, hooks):
    """`echo ran` in a container that the hooks of that folder know of."""
    words = ["--name", name, "--annotation", "lane-probe=yes", IMAGE, "echo", "ran"]
    return lane.run("podman", "--hooks-dir", hooks, "run", *words, check=False)


def test_a_hook_that_fails_keeps_the_container_from_running(lane, name, hooks, lane_folder):
    (lane_folder / "hook").write_text("#!/bin/sh\nexit 1\n")
    done = run_with_hooks(lane, name, hooks)
    assert done.returncode == 126
    assert "ran" not in done.stdout


def test_podman_still_ignores_a_hook_whose_program_is_missing(lane, name, hooks, lane_folder):
    """The reason why a launch has to prove that its supervisor lives; tells us if Podman mends it."""
    (lane_folder / "hook").unlink()
    done = run_with_hooks(lane, name, hooks)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran\n"


def test_copy_start_exec_logs_and_wait(lane, name, lane_folder):
    (lane_folder / "seed").mkdir(mode=0o755)
    (lane_folder / "seed/note").write_text("hello\n")
    lane.run(
        "podman",
        "create",
        "--name",
        name,
        IMAGE,
        "sh",
        "-c",
        "cat /seed/note; until [ -e /go ]; do sleep 0.05; done; exit 3",
    )
    lane.run("podman", "cp", lane_folder / "seed", f"{name}:/")
    lane.run("podman", "start", name)
    assert lane.run("podman", "exec", name, "cat", "/seed/note").stdout == "hello\n"
    lane.run("podman", "exec", name, "touch", "/go")
    assert lane.run("podman", "wait", name).stdout == "3\n"
    assert lane.run("podman", "logs", name).stdout == "hello\n"
    # Podman 5 tells the status of a container that it has not yet cleaned up after.
    assert until(lambda: lane.run("podman", "inspect", "-f", "{{.State.Status}}", name).stdout == "exited\n")


def test_identity_inside(lane, name):
    if not lane.rootless:
        assert lane.run("podman", "run", "--name", name, IMAGE, "id", "-u").stdout == "0\n"
        return
    outside = lane.run("id", "-u").stdout
    assert outside != "0\n"
    kept = lane.run(
        "podman",
        "run",
        "--name",
        name,
        "--userns",
        "keep-id:uid=1000,gid=1000" if lane.number == 4 else "keep-id",
        IMAGE,
        "id",
        "-u",
    ).stdout
    assert kept == ("1000\n" if lane.number == 4 else outside)


def test_a_memory_limit_kills_where_limits_act(lane, name):
    if lane.rootless:
        pytest.skip("rootless limits need cgroup v2 and systemd (lane 6)")
    done = lane.run(
        "podman",
        "run",
        "--name",
        name,
        "-m",
        "64m",
        "--memory-swap",
        "64m",
        IMAGE,
        "sh",
        "-c",
        "head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null",
        check=False,
    )
    assert done.returncode == 137


def test_runtime_is_the_one_the_lane_is_named_for(lane):
    runtime = lane.run("podman", "info", "-f", "{{.Host.OCIRuntime.Name}}").stdout.strip()
    assert runtime == ("runc" if lane.name.endswith("runc") else "crun")
    version = lane.run("podman", "--version").stdout.split()[-1]
    if lane.number == 4:
        assert version.startswith("5.")
