"""Supervised launches by the product in every lane: crun and runc, rootless and rootful, Podman 4 and 5."""

from __future__ import annotations

from pathlib import Path

import pytest
from lane import LANES
from product_site import ProductSite

LIFE = """
set_up()
box = Sandbox(cfg)
made, spec = supervised("lane-life", "sh", "-c", "echo started >>/workspace/log; ls /run/terok; exec sleep 300")
told = {}
try:
    box.run(spec)
    told["answers"] = health("lane-life")
    told["processes"] = len(supervisors())
    told["inside"] = until(lambda: "vault.sock" in podman("logs", "lane-life").stdout)
    podman("stop", "-t", "0", "lane-life")
    told["ends with it"] = until(lambda: not supervisors(), 5)
    told["no socket"] = not (made.container_runtime_dir / "vault.sock").exists()
    box.start("lane-life")
    told["answers again"] = health("lane-life")
    podman("restart", "-t", "0", "lane-life")
    told["after podman's own restart"] = health("lane-life")
    told["started"] = (ROOT / "w/log").read_text().split()
finally:
    told["removal"] = removal(box, "lane-life")
    told["none left"] = until(lambda: not supervisors(), 5)
    told["cleaned"] = launch.cleanup("lane-life", cfg=cfg)
told["files"] = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*lane-life*"))
told["directory"] = made.container_runtime_dir.exists()
told["again"] = launch.cleanup("lane-life", cfg=cfg)
tell(told)
"""


@pytest.fixture(params=LANES)
def site(request: pytest.FixtureRequest, lane_folder: Path) -> ProductSite:
    return ProductSite(LANES[request.param].require(), lane_folder).prepare()


@pytest.fixture
def rootless_site(lane_folder: Path) -> ProductSite:
    return ProductSite(LANES["rootless"].require(), lane_folder).prepare()


@pytest.fixture(params=["rootless", "rootful", "podman5"])
def ports_site(request: pytest.FixtureRequest, lane_folder: Path) -> ProductSite:
    """One lane per kind of network: slirp4netns, a bridge, pasta."""
    return ProductSite(LANES[request.param].require(), lane_folder).prepare()


@pytest.fixture(params=["rootful", "rootful-runc", "podman5-rootful"])
def rootful_site(request: pytest.FixtureRequest, lane_folder: Path) -> ProductSite:
    return ProductSite(LANES[request.param].require(), lane_folder).prepare()


def test_life_of_a_container_that_the_product_launched(site: ProductSite) -> None:
    """Supervised from start to end, again after every restart, and gone without a trace."""
    assert site.tell(LIFE) == {
        "answers": 200,
        "processes": 2,
        "inside": True,
        "ends with it": True,
        "no socket": True,
        "answers again": 200,
        "after podman's own restart": 200,
        "started": ["started"] * 3,
        "removal": [None],
        "none left": True,
        "cleaned": True,
        "files": [],
        "directory": False,
        "again": False,
    }


def test_a_supervisor_that_cannot_start_keeps_the_container_from_running(site: ProductSite) -> None:
    told = site.tell(
        """
set_up()
made, spec = supervised("lane-bad", "sh", "-c", "echo ran >/workspace/ran; sleep 300")
cfg.routes_path.unlink()
try: Sandbox(cfg).run(spec); why = ""
except SystemExit as error: why = str(error)
state = podman("container", "inspect", "lane-bad").returncode
tell({"why": why, "ran": (ROOT / "w/ran").exists(), "container": state, "left": made.container_runtime_dir.exists(), "supervisors": supervisors()})
"""
    )
    assert "cannot read the route table" in told.pop("why")
    assert told == {"ran": False, "container": 125, "left": False, "supervisors": []}


# holds: root-is-refused
# holds: root-has-a-user-namespace
def test_root_is_refused_and_else_its_containers_have_ids_of_their_own(rootful_site: ProductSite) -> None:
    told = rootful_site.tell(
        """
set_up()
import dataclasses
told = {}
made, spec = supervised("lane-refused", "true")
try: Sandbox(dataclasses.replace(cfg, allow_root=False)).run(spec)
except SystemExit as error: told["why"] = str(error)
launch.cleanup("lane-refused", cfg=cfg)
told["refused"] = podman("container", "inspect", "lane-refused").returncode
box = Sandbox(cfg)
leave = "for place in /workspace /run/terok; do cp /bin/busybox $place/left; chmod 4755 $place/left; done; cat /proc/self/uid_map; echo ready; exec sleep 300"
made, spec = supervised("lane-root", "sh", "-c", leave)
try:
    box.run(spec)
    told["answers"] = health("lane-root")
    told["ready"] = until(lambda: "ready" in podman("logs", "lane-root").stdout)
    told["map"] = podman("logs", "lane-root").stdout.split()[:3]
    left = [(ROOT / "w/left").stat(), (made.container_runtime_dir / "left").stat()]
    told["left"] = [(file.st_uid, file.st_gid, oct(file.st_mode & 0o7777)) for file in left]
    told["socket"] = (made.container_runtime_dir / "vault.sock").stat().st_uid
finally: box.stop(["lane-root"]); launch.cleanup("lane-root", cfg=cfg)
told["left of it"] = [str(path) for path in ROOT.rglob("*lane-r*")]
tell(told)
"""
    )
    why = told.pop("why")
    assert "as root of this host" in why and "TEROK_ALLOW_ROOT=1" in why and "--allow-root" in why
    first = 0x7F000000
    assert told == {
        "refused": 125,
        "answers": 200,
        "ready": True,
        "map": ["0", str(first), "65536"],
        "left": [[first, first, "0o4755"]] * 2,
        "socket": first,
        "left of it": [],
    }


# holds: tcp-mode-own-ports-only
def test_services_on_ports(ports_site: ProductSite) -> None:
    """In TCP mode the container reaches its own services, and nothing else on the host's loopback."""
    told = ports_site.tell(
        """
set_up()
box = Sandbox(cfg)
stranger = socket.create_server(("127.0.0.1", 0))
(ROOT / "gates").mkdir()
made = launch.allocate_per_container_resources(cfg, "lane-tcp")
gate = dict(gate_base_path=ROOT / "gates", gate_token="secret", gate_port=made.gate_port, gate_scope="p")
sidecar = launch.write_sidecar("lane-tcp", cfg=cfg, per_container=made, **gate)
ports = dict(broker=made.token_broker_port, gate=made.gate_port, signer=made.ssh_signer_port, stranger=stranger.getsockname()[1])
hosts = ["host.containers.internal", "127.0.0.1", "10.0.2.2", "169.254.1.2"]
ask = " ".join(f"for h in {' '.join(hosts)}; do nc -w1 $h {port} </dev/null >/dev/null 2>&1 && echo {name} $h; done;" for name, port in ports.items())
ask += f"wget -q -O- http://{hosts[0]}:{made.token_broker_port}/-/health; echo"
mounts = (VolumeSpec(made.container_runtime_dir, "/run/terok", live=True), VolumeSpec(ROOT / "w", "/workspace", "private"))
program = ("sh", "-c", f"({ask}; echo done) >/workspace/answer 2>&1; exec sleep 300")
spec = RunSpec(
    container_name="lane-tcp", image=IMAGE, env={}, volumes=mounts, command=program, task_dir=ROOT,
    annotations={"terok.sandbox.sidecar": str(sidecar)}, loopback_ports=tuple(list(ports.values())[:3]),
)
try:
    box.run(spec)
    told = {"mode": cfg.services_mode, "answers": health("lane-tcp", made.token_broker_port)}
    until(lambda: (ROOT / "w/answer").exists() and "done" in (ROOT / "w/answer").read_text(), 60)
    told["inside"] = (ROOT / "w/answer").read_text().split("\\n")
finally: box.stop(["lane-tcp"])
told["none left"] = until(lambda: not supervisors(), 5)
told["cleaned"] = launch.cleanup("lane-tcp", cfg=cfg)
tell(told)
""",
        **tcp(ports_site),
    )
    own = [
        f"{name} {host}" for name in ("broker", "gate", "signer") for host in ("host.containers.internal", "127.0.0.1")
    ]
    inside = [*own, '{"status": "ok"}', "done", ""]
    assert told == {"mode": "tcp", "answers": 200, "inside": inside, "none left": True, "cleaned": True}


def tcp(site: ProductSite) -> dict[str, str]:
    """Settings of the TCP transport."""
    return settings(site, "services: {mode: tcp}\n")


def settings(site: ProductSite, text: str) -> dict[str, str]:
    """The environment with a configuration file."""
    path = site.folder / "settings.yml"
    path.write_text(text)
    path.chmod(0o644)
    return {"TEROK_CONFIG_FILE": str(path)}


# holds: container-log-is-bounded memory-shortage-spares-session
def test_log_and_memory_of_a_container_are_bounded(ports_site: ProductSite) -> None:
    """The log starts again at its largest size while it is followed; the kernel ends the container first."""
    told = ports_site.tell(
        """
set_up()
box = Sandbox(cfg)
words = 'i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo "$(printf "line $i %900s" x)"; sleep 0.02; done'
made, spec = supervised("lane-log", "sh", "-c", f"{words}; echo last; exec sleep 300")
def score(pid): return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
try:
    box.run(spec)
    with box.runtime.container("lane-log").logs(follow=True) as stream:
        for line in stream:
            if line == "last": break
    with box.runtime.container("lane-log").logs() as stream: lines = list(stream)
    field = lambda name: podman("inspect", "-f", "{{" + name + "}}", "lane-log").stdout.strip()
    stat = ["stat", "-c", "%s", field(".HostConfig.LogConfig.Path")]
    size = subprocess.run([*(["podman", "unshare"] if os.getuid() else []), *stat], capture_output=True, text=True).stdout
    told = {"size": int(size), "end": lines[-1], "lines": len(lines)}
    told["scores"] = [score(field(".State.Pid")), *sorted({score(pid) for pid in supervisors()})]
finally: box.stop(["lane-log"])
told["session"] = score("self")
tell(told)
""",
        **settings(ports_site, "run: {log_size: 20k}\n"),
    )
    assert told["end"] == "last" and 0 < told["lines"] < 40 and told["size"] <= 20 * 1024
    assert told["scores"] == [600, 500] and told["session"] < 500


def test_a_memory_limit_acts_and_is_told(rootful_site: ProductSite) -> None:
    """Without a limit on swap the rest would be swapped out, so both are set."""
    told = rootful_site.tell(
        """
set_up()
os.chdir(ROOT)
box = Sandbox(cfg)
eat = "head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null"
made, spec = supervised("lane-mem", "sh", "-c", eat, memory="64m", extra_args=("--memory-swap", "64m"))
try:
    box.run(spec)
    code = box.wait_for_exit("lane-mem", 300)
    told = {"code": code, "oom": podman("inspect", "-f", "{{.State.OOMKilled}}", "lane-mem").stdout.strip()}
finally: box.stop(["lane-mem"]); launch.cleanup("lane-mem", cfg=cfg)
tell(told)
"""
    )
    assert told["code"] == 137
    # On version 1 cgroups, conmon of podman 4 leaves its note of the cause where podman does not find it.
    assert told["oom"] == "true" or rootful_site.lane.number != 4


def test_an_annotation_with_a_comma_is_refused_everywhere(site: ProductSite) -> None:
    """Podman 4 would make two annotations of it; what is refused there must not start to work elsewhere."""
    told = site.tell(
        """
box = Sandbox(cfg)
spec = RunSpec("lane-comma", IMAGE, {}, (), ("true",), ROOT, annotations={"dossier.meta_path": "/a,terok.sandbox.sidecar=/b"})
try: box.run(spec); why = ""
except ValueError as error: why = str(error)
tell({"why": why, "container": podman("container", "inspect", "lane-comma").returncode})
"""
    )
    assert "comma" in told["why"] and told["container"] == 125


@pytest.mark.parametrize("name", ["rootless", "rootful", "podman5"])
def test_a_container_run_by_hand_is_supervised(name: str, lane_folder: Path) -> None:
    """`terok-sandbox run` becomes podman; `cleanup` takes away what it needed."""
    told = (
        ProductSite(LANES[name].require(), lane_folder)
        .prepare()
        .tell(
            """
set_up()
def verb(*words): return subprocess.run([sys.executable, "-m", "terok_sandbox.cli", *words], capture_output=True, text=True, timeout=300)
refused = verb("run", "lane-hand", "--scope", "s", "--no-gate", "--", "--privileged", IMAGE)
told = {"refused": (refused.returncode, "--privileged" in refused.stderr, (cfg.runtime_dir / "run/lane-hand").exists())}
done = verb("run", "lane-hand", "--scope", "s", "--no-gate", "--", "-d", "--label", "a=b", IMAGE, "sh", "-c", "ls /run/terok /usr/local/share/terok-sandbox/bridges; sleep 300")
try:
    told["status"] = (done.returncode, done.stderr if done.returncode else "")
    told["answers"] = health("lane-hand")
    told["inside"] = until(lambda: {"vault.sock", "ensure-bridges.sh"} <= set(podman("logs", "lane-hand").stdout.split()))
finally: podman("rm", "-f", "-t", "0", "lane-hand")
told["none left"] = until(lambda: not supervisors(), 5)
told["cleanup"] = [verb("cleanup", "lane-hand").stdout.split("`")[0] for _ in range(2)]
told["files"] = [str(p) for p in ROOT.rglob("*lane-hand*")]
tell(told)
"""
        )
    )
    assert told == {
        "refused": [1, True, False],
        "status": [0, ""],
        "answers": 200,
        "inside": True,
        "none left": True,
        "cleanup": ["cleaned up after ", "nothing is known about "],
        "files": [],
    }
