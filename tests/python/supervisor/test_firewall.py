"""The firewall of a container under real Podman, in every lane: slirp4netns, pasta and a rootful bridge, crun and runc.

The internet is a namespace behind the private host's veth; its names and servers are fakes.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lane import HOST, IMAGE, LANES, Lane, inside
from supervised_site import ANNOTATION, SOON, Site, until

NAMES = {"good.test": "198.51.100.7", "other.test": "198.51.100.8"}
LITERAL = "203.0.113.50"


@pytest.fixture(scope="session")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Names, and a web server on every address of the internet."""
    if not inside() or os.environ.get("TEROK_TEST_HOST") != "private" or os.getuid():
        pytest.skip("needs tests/host/with-test-host --net around it")
    pairs = [f"{name}={address}" for name, address in NAMES.items()]
    subprocess.run([HOST / "hermetic-internet", *pairs, f"literal.test={LITERAL}"], check=True)
    pages = tmp_path_factory.mktemp("pages")
    (pages / "page").write_text("a page\n")
    server = subprocess.Popen([HOST / "in-internet", "busybox", "httpd", "-f", "-p", "80", "-h", pages])
    yield
    server.kill()
    server.wait()


@dataclass
class Guarded:
    """A site whose containers have a firewall."""

    lane: Lane
    site: Site
    shield: Path

    def podman(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.lane.run("podman", "--hooks-dir", self.site.state / "hooks", *words, check=check)

    def write(self, name: str, text: str) -> None:
        path = self.shield / name
        path.write_text(text)
        path.chmod(0o600)
        self.site.give_away()

    def start(self, name: str, *options: str) -> None:
        sidecar = self.site.sidecar(name, shield_state_dir=str(self.shield))
        user = ["--userns=keep-id", "--user", "0"] if self.lane.rootless else []
        self.podman(
            "run", "-d", "--name", name, *user, *options, "--cap-drop", "NET_ADMIN", "--cap-drop", "NET_RAW",
            "--annotation", f"{ANNOTATION}={sidecar}",
            "-v", f"{self.shield / 'resolv.conf'}:/etc/resolv.conf:ro", IMAGE, "sleep", "600",
        )  # fmt: skip

    def fetch(self, name: str, host: str) -> str:
        """A page of a host, or what the program said when there was none."""
        # This busybox crashes when its own -T is used.
        words = ["timeout", "5", "wget", "-q", "-O", "-", f"http://{host}/page"]
        done = self.podman("exec", name, *words, check=False)
        return done.stdout or done.stderr

    def shield_says(self, *words: str, check: bool = True) -> str:
        program = self.site.state / "hooks" / "terok-supervisor"
        return self.lane.run(program, "shield", *words, "--state-dir", self.shield, check=check).stdout


@pytest.fixture(params=["rootless", "rootless-runc", "rootful", "podman5"])
def guarded(
    request: pytest.FixtureRequest, at_site: Callable[[bool], Site], internet: None
) -> Iterator[Guarded]:
    lane = LANES[request.param].require()
    site = at_site(lane.rootless)
    shield = site.folder / "shield"
    shield.mkdir(mode=0o700)
    guarded = Guarded(lane, site, shield)
    guarded.write("resolv.conf", "nameserver 127.0.0.1\noptions ndots:0\n")
    (shield / "resolv.conf").chmod(0o644)
    guarded.write("profile.domains", "good.test\n")
    guarded.write("live.allowed", f"{LITERAL}\n")
    guarded.write("published.ports", "tcp 8080\n")
    yield guarded
    guarded.podman("rm", "-af", "-t", "0")
    assert until(lambda: not site.supervisors()), "a supervisor outlived its container"


# holds: firewall-lanes
def test_container_reaches_what_its_policy_opens_and_nothing_else(guarded: Guarded) -> None:
    guarded.start("c1")
    assert guarded.shield_says("state") == "up\n", guarded.site.hook_log
    assert guarded.fetch("c1", "good.test") == "a page\n"
    assert guarded.fetch("c1", LITERAL) == "a page\n"
    for host in (*[address for name, address in NAMES.items() if name != "good.test"], "other.test", "192.0.2.50"):
        assert "a page" not in guarded.fetch("c1", host), host
    started = time.monotonic()
    for host in ("169.254.169.254", "10.0.2.2", "169.254.1.2", "10.0.2.3"):
        assert "a page" not in guarded.fetch("c1", host), host
    assert time.monotonic() - started < 20, "refusals are no time-outs"
    # A name on an allowed address does not open it for another name.
    header = ["timeout", "5", "wget", "-q", "-O", "-", "--header", "Host: other.test", f"http://{NAMES['good.test']}/page"]
    assert "a page" not in guarded.podman("exec", "c1", *header, check=False).stdout
    # Every resolver is ours.
    looked = guarded.podman("exec", "c1", "nslookup", "other.test", "8.8.8.8", check=False).stdout
    assert "198.18." in looked or "198.19." in looked, looked
    told = json.loads(guarded.shield_says("explain", "other.test:80", "--json"))
    assert (told["outcome"], told["rule"]) == ("refused", "undecided")
    probes = json.loads((guarded.shield / "probes.json").read_text())
    assert probes["ok"], probes


# holds: firewall-lanes
def test_commands_change_the_firewall_and_a_new_start_begins_with_the_files(guarded: Guarded) -> None:
    guarded.start("c1")
    assert guarded.shield_says("down") == "down\n"
    assert guarded.fetch("c1", "other.test") == "a page\n"
    assert guarded.shield_says("up") == "up\n"
    assert "a page" not in guarded.fetch("c1", "other.test")
    guarded.write("live.domains", "other.test\n")
    assert until(lambda: guarded.fetch("c1", "other.test") == "a page\n", SOON)
    guarded.write("denied.domains", "good.test\n")
    assert until(lambda: "a page" not in guarded.fetch("c1", "good.test"), SOON)
    guarded.podman("stop", "-t", "0", "c1")
    guarded.podman("start", "c1")
    assert guarded.fetch("c1", "other.test") == "a page\n"
    assert "a page" not in guarded.fetch("c1", "good.test")
    assert guarded.shield_says("quarantine") == "quarantine\n"
    assert "a page" not in guarded.fetch("c1", LITERAL)
    assert guarded.shield_says("verify") == "the rules are those of `quarantine`\n"


def test_container_does_not_run_when_its_firewall_cannot_be_applied(guarded: Guarded) -> None:
    site = guarded.site
    guarded.shield.chmod(0o777)
    sidecar = site.sidecar("c1", shield_state_dir=str(guarded.shield))
    words = ["run", "--rm", "--name", "c1", "--annotation", f"{ANNOTATION}={sidecar}", IMAGE, "echo", "it ran"]
    done = guarded.podman(*words, check=False)
    assert done.returncode == 126 and "it ran" not in done.stdout
    assert "others may write there" in site.hook_log
    guarded.shield.chmod(0o700)
    guarded.write("provenance.json", "{")
    done = guarded.podman(*words, check=False)
    assert done.returncode == 126 and "it ran" not in done.stdout
    assert "provenance.json" in site.hook_log
    guarded.write("provenance.json", "{}")
    done = guarded.podman("run", "--network", "host", *words[1:], check=False)
    assert done.returncode == 126 and "it ran" not in done.stdout
    assert "the host's network" in site.hook_log


def test_published_port_is_reached_through_a_bridge(guarded: Guarded) -> None:
    if guarded.lane.rootless:
        pytest.skip("rootless networks hand published ports over on the loopback interface")
    guarded.start("c1", "-p", "127.0.0.1:18080:8080", "-p", "127.0.0.1:18081:8081")
    for port in ("8080", "8081"):
        guarded.podman("exec", "-d", "c1", "busybox", "httpd", "-f", "-p", port, "-h", "/etc")
    address = guarded.podman("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "c1").stdout.strip()

    def reached(port: str) -> bool:
        words = ["timeout", "2", "busybox", "wget", "-q", "-O", "-", f"http://{address}:{port}/hosts"]
        return subprocess.run(words, capture_output=True).returncode == 0

    assert until(lambda: reached("8080"), SOON)
    assert not reached("8081")
