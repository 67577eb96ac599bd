"""The supervisor killed in the middle of its work, the container restarted, the launch without a supervisor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from e2e_site import DONE, Site, executable, until
from test_broker_faults import ask, box

SLOW = {"steps": [{"say": "Late.", "delay": 30}], "side": "Late"}


def test_killed_worker_is_replaced(site: Site) -> None:
    container = box(site)
    watchdog, worker = site.supervisors(container)
    with site.model({**DONE, "side": "slow"}):
        assert ask(site, container)[1] == 200
        os.kill(worker, signal.SIGKILL)
        until(lambda: ask(site, container)[1] == 200, "a new worker answers")
    assert site.state_of(container) == "running"
    replaced = site.supervisors(container)
    assert replaced[0] == watchdog and replaced[1] != worker


def test_request_in_flight_breaks_and_the_next_one_works(site: Site) -> None:
    container = box(site)
    _, worker = site.supervisors(container)
    tools = '{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"Read","input_schema":{}}]}'
    curl = (
        "curl -sS --max-time 25 --unix-socket /run/terok/vault.sock http://localhost/v1/messages "
        f"-H \"x-api-key: $ANTHROPIC_API_KEY\" -d '{tools}'"
    )
    with site.model(SLOW) as model:
        command = ["podman", "exec", container, "bash", "-lc", curl]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as call:
            until(lambda: _established(site.port), "the request is with the upstream")
            os.kill(worker, signal.SIGKILL)
            _, complaint = call.communicate(timeout=60)
        assert call.returncode in (52, 56) and "curl: (" in complaint, complaint
        until(lambda: ask(site, container)[1] == 200, "the next request works")
        assert model.requests()
    assert site.state_of(container) == "running"


def _established(port: int) -> bool:
    """Whether somebody has a connection to the loopback port."""
    wanted = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2] == wanted and row[3] == "01" for row in rows)


def test_killed_watchdog_means_refused_requests_until_the_next_start(site: Site) -> None:
    container = box(site)
    watchdog, worker = site.supervisors(container)
    os.kill(watchdog, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{worker}").exists(), "the worker ends with its watchdog")
    with site.model(DONE):
        said, status = ask(site, container)
        assert status == 0 and "curl: (7)" in said, said
        assert site.state_of(container) == "running"
        site.podman("stop", "-t", "0", container)
        site.podman("start", container)
        until(lambda: ask(site, container)[1] == 200, "the restarted container is supervised")


def test_supervisor_ends_with_its_container(site: Site) -> None:
    container = box(site)
    pids = site.supervisors(container)
    assert len(pids) == 2
    site.podman("kill", container)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "no supervisor without a container")


@pytest.mark.parametrize("missing", ["descriptor", "executable", "daemon", "CONTAINERS_CONF"])
def test_no_supervisor_no_container(site: Site, monkeypatch, folder: Path, missing: str) -> None:
    from terok_executor.integrations import sandbox

    state = sandbox.SandboxConfig().state_dir
    hidden = {
        "descriptor": lambda: sorted((state / "hooks").glob("*.json")),
        "executable": lambda: [state / "hooks/terok-supervisor"],
        "daemon": lambda: [state / "hooks/terok-supervisord"],
        "CONTAINERS_CONF": list,
    }[missing]()
    assert hidden or missing == "CONTAINERS_CONF"
    if missing == "CONTAINERS_CONF":
        (folder / "containers.conf").write_text("[engine]\n")
        monkeypatch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
    away = [path.rename(path.with_name(path.name + ".away")) for path in hidden]
    try:
        with site.leaves_nothing():
            run = ("run", "claude", str(site.repository()), "-p", "x", "--no-preflight", "--base", site.base)
            done = site.cli(*run)
    finally:
        for path in away:
            path.rename(path.with_name(path.name.removesuffix(".away")))
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    named = missing if missing == "CONTAINERS_CONF" else "does not exist"
    assert named in done.stderr and re.search(r"hint: .*(setup|unset)", done.stderr, re.S), done.stderr


def test_unsupervised_container_refuses_to_begin(site: Site, folder: Path) -> None:
    """Podman ran without our hook: the first program inside names the missing supervisor and ends."""
    folder.chmod(0o755)
    mounts = ("-v", f"{folder}:/run/terok", "--network", "none", "--userns=keep-id:uid=1000,gid=1000")
    variables = ("-e", "ANTHROPIC_UNIX_SOCKET=/run/terok/vault.sock", "-e", "TEROK_VAULT_LOOPBACK_PORT=9419")
    done = site.run("podman", "run", "--rm", *mounts, *variables, site.image, "bash", "-lc", "init-ssh-and-repo.sh")
    assert done.returncode != 0 and ">> init complete" not in done.stdout
    assert "supervisor" in done.stderr and "vault.sock" in done.stderr, done.stderr


def test_ctrl_c_while_following(site: Site) -> None:
    name = site.name()
    command = [executable("terok-executor"), "run", "claude", str(site.repository()), "-p", "x", "--name", name]
    with site.model(SLOW):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        command += ["--base", site.base]
        with subprocess.Popen(command, text=True, start_new_session=True, **streams) as run:  # type: ignore[call-overload]
            assert run.stdout is not None
            for line in run.stdout:
                if ">> init complete" in line:
                    break
            os.killpg(run.pid, signal.SIGINT)
            _, said = run.communicate(timeout=60)
        assert run.returncode == 130, said
        assert f"`podman logs -f {name}`" in said and f"`terok-executor stop {name}`" in said
        assert site.state_of(name) == "running"


def test_time_limit_gives_124(site: Site) -> None:
    with site.model(SLOW):
        run = ("run", "claude", str(site.repository()), "-p", "x", "--timeout", "4", "--base", site.base)
        done = site.cli(*run)
    assert done.returncode == 124, done.stdout + done.stderr
    assert "time limit of 4 seconds (exit code 124)" in done.stdout


def test_out_of_memory_is_named(site: Site) -> None:
    if site.podman("info", "--format", "{{.Host.CgroupsVersion}}") != "v2":
        pytest.skip("memory limits of rootless containers need cgroup v2")
    if "memory" not in site.podman("info", "--format", "{{.Host.CgroupControllers}}"):
        pytest.skip("the user's cgroup has no memory controller")
    with site.model(DONE):
        run = ("run", "claude", str(site.repository()), "-p", "x", "--memory", "24m", "--base", site.base)
        done = site.cli(*run)
    assert done.returncode == 137 and "out of memory" in done.stdout, done.stdout
