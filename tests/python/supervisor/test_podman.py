"""The hook under real Podman, in every lane: rootless and rootful, crun and runc."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lane import IMAGE, LANES, Lane
from supervised_site import ANNOTATION, SOON, Site, alive, children, request, until


@dataclass
class Engine:
    """Podman in a lane, with the site's hook."""

    lane: Lane
    site: Site

    def podman(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.lane.run("podman", "--hooks-dir", self.site.state / "hooks", *words, check=check)

    def options(self, name: str, sidecar: Path) -> list[str]:
        user = ["--userns=keep-id"] if self.lane.rootless else []
        mount = f"{self.site.socket(name).parent}:/run/terok"
        annotation = f"{ANNOTATION}={sidecar}"
        return ["--name", name, *user, "--network", "none", "--annotation", annotation, "-v", mount, IMAGE]

    def start(self, name: str, *command: str) -> str:
        options = self.options(name, self.site.sidecar(name))
        return self.podman("run", "-d", *options, *(command or ("sleep", "300"))).stdout.strip()

    def remove(self, *names: str) -> None:
        self.podman("rm", "-f", "-t", "0", *names)


@pytest.fixture(params=["rootless", "rootless-runc", "rootful", "rootful-runc"])
def engine(request: pytest.FixtureRequest, at_site: Callable[[bool], Site]) -> Iterator[Engine]:
    lane = LANES[request.param].require()
    engine = Engine(lane, at_site(lane.rootless))
    yield engine
    engine.podman("rm", "-af", "-t", "0")
    assert until(lambda: not engine.site.supervisors()), "a supervisor outlived its container"


# improves: 21-7.4-start-again
def test_life_of_a_supervised_container(engine: Engine) -> None:
    """Started with the container, answering from its first moment, gone with it, back with the next start."""
    site = engine.site
    cid = engine.start("c1")
    assert request(site.socket("c1")) == 503, "answers as soon as podman returns"
    seen = engine.podman("exec", "c1", "ls", "/run/terok").stdout
    assert seen.split() == ["ssh-agent.sock", "vault.sock"]
    first = site.watchdog(cid)
    engine.podman("stop", "-t", "0", "c1")
    assert until(lambda: not alive(first), SOON)
    assert not site.socket("c1").exists() and not site.pid_file(cid).exists()
    engine.podman("start", "c1")
    assert request(site.socket("c1")) == 503 and site.watchdog(cid) != first
    engine.podman("restart", "-t", "0", "c1")
    assert request(site.socket("c1")) == 503 and len(site.supervisors()) == 2
    engine.remove("c1")
    assert until(lambda: not site.supervisors(), SOON)
    assert (site.state / "sidecar" / "c1.json").exists()


# holds: flow-back-at-every-end
@pytest.mark.parametrize("end", ["by itself", "stopped", "removed"])
def test_settings_of_the_copy_flow_back_at_the_end(engine: Engine, end: str) -> None:
    site, shared, home = engine.site, engine.site.folder / "mounts", engine.site.folder / "home"
    for folder in (shared / "_a", home / "_a"):
        folder.mkdir(parents=True)
    record = {"flows_back": {"state.json": {"theme": "word"}}}
    (home / "copies.json").write_text(json.dumps({"version": 1, "mounts": str(shared), "folders": {"_a": record}}))
    site.give_away()
    write = """printf '{"theme": "light", "hooks": {}}' >/copy/state.json; printf x >/copy/plugin.js"""
    command = ["sh", "-c", write if end == "by itself" else f"{write}; echo written; sleep 300"]
    options = engine.options("c1", site.sidecar("c1", home_dir=str(home)))
    engine.podman("run", "-d", "-v", f"{home}/_a:/copy", *options, *command)
    if end == "by itself":
        engine.podman("wait", "c1")
    else:
        assert until(lambda: "written" in engine.podman("logs", "c1").stdout)
        engine.podman(*(["stop", "-t", "0"] if end == "stopped" else ["rm", "-f", "-t", "0"]), "c1")
    assert until(lambda: (shared / "_a/state.json").exists(), SOON)
    assert json.loads((shared / "_a/state.json").read_text()) == {"theme": "light"}
    assert [path.name for path in (shared / "_a").iterdir()] == ["state.json"]
    assert "settings taken over: _a/state.json: theme" in site.hook_log


def test_a_container_that_ends_by_itself(engine: Engine) -> None:
    cid = engine.start("c1", "sh", "-c", "exit 7")
    assert engine.podman("wait", "c1").stdout.strip() == "7"
    assert until(lambda: not engine.site.supervisors(), SOON)
    assert not engine.site.pid_file(cid).exists()


def test_without_a_supervisor_the_container_does_not_run(engine: Engine) -> None:
    site = engine.site
    options = engine.options("c1", site.sidecar("c1", ipc_mode="pigeon"))
    done = engine.podman("run", "--rm", *options, "echo", "it ran", check=False)
    assert done.returncode == 126 and "it ran" not in done.stdout
    assert "`ipc_mode` is neither" in site.hook_log
    (site.vault / "routes.json").unlink()
    options = engine.options("c2", site.sidecar("c2"))
    done = engine.podman("run", "--rm", *options, "echo", "it ran", check=False)
    assert done.returncode == 126 and "it ran" not in done.stdout
    assert "cannot read the route table" in site.hook_log
    assert not site.supervisors()


def refuses(socket: Path) -> bool:
    """Whether nobody listens there."""
    try:
        request(socket)
    except ConnectionRefusedError:
        return True
    except ConnectionError:
        return False
    return False


def test_killed_processes_do_not_hurt_the_container(engine: Engine) -> None:
    site = engine.site
    cid = engine.start("c1")
    watchdog = site.watchdog(cid)
    (worker,) = children(watchdog)
    kill = "import os, sys; os.kill(int(sys.argv[1]), 9)"
    engine.lane.run("/usr/bin/env", "python3", "-c", kill, str(worker))
    assert request(site.socket("c1")) == 503
    engine.lane.run("/usr/bin/env", "python3", "-c", kill, str(watchdog))
    assert until(lambda: not site.supervisors(), SOON)
    # A killed process is gone from the table a moment before its sockets are.
    assert until(lambda: refuses(site.socket("c1")), SOON)
    state = engine.podman("inspect", "--format", "{{.State.Status}}", "c1").stdout.strip()
    assert state == "running"
    engine.podman("restart", "-t", "0", "c1")
    assert request(site.socket("c1")) == 503


def test_other_containers_get_no_supervisor(engine: Engine) -> None:
    engine.podman("run", "--rm", "--network", "none", IMAGE, "true")
    assert not engine.site.supervisors() and not engine.site.hook_log


def test_it_does_not_keep_podman_waiting(engine: Engine) -> None:
    """The daemon holds none of the runtime's pipes."""
    options = engine.options("c1", engine.site.sidecar("c1"))
    started = time.monotonic()
    assert engine.podman("run", "--rm", *options, "echo", "hello").stdout == "hello\n"
    assert time.monotonic() - started < 60


def test_twenty_at_once(at_site: Callable[[bool], Site]) -> None:
    lane = LANES["rootless"].require()
    engine = Engine(lane, at_site(True))
    site = engine.site
    names = [f"c{number}" for number in range(20)]
    argvs = [
        lane.argv(
            "podman",
            "--hooks-dir",
            site.state / "hooks",
            "run",
            "-d",
            *engine.options(n, site.sidecar(n)),
            "sleep",
            "300",
        )
        for n in names
    ]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for argv in argvs]
    ids = {}
    for name, process in zip(names, running, strict=True):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        ids[name] = out.strip()
    try:
        assert len({site.watchdog(cid) for cid in ids.values()}) == 20
        assert [request(site.socket(name)) for name in names] == [503] * 20
        assert len(site.supervisors()) == 40
    finally:
        engine.remove(*names)
    assert until(lambda: not site.supervisors())
