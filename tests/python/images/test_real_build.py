"""Real images on a base made from packages: needs podman, mmdebstrap and the package registries; takes minutes.

Runs when ``TEROK_TEST_IMAGES`` is set, since it downloads more than a gigabyte the first time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fixtures.real_image import AGENTS, MAPPING, PROGRAMS, agent_image, mapped
from terok_executor.container import build

LOCKS = Path(__file__).resolve().parents[3] / "python/terok_executor/resources/locks"

pytestmark = [
    pytest.mark.skipif(not os.environ.get("TEROK_TEST_IMAGES"), reason="TEROK_TEST_IMAGES is not set"),
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed"),
]


@pytest.fixture(scope="module")
def image() -> str:
    made = agent_image()[1]
    mapped(made)
    return made


def inside(image: str, command: str) -> str:
    mapping = [] if os.geteuid() == 0 else [MAPPING]
    argv = ["podman", "run", "--rm", "--network=none", *mapping, image, "bash", "-lc", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("agent", PROGRAMS)
def test_agents_answer_as_dev(image: str, agent: str) -> None:
    user, version = inside(image, f"id -un; {agent} --version").splitlines()[:2]
    assert user == "dev"
    assert any(char.isdigit() for char in version), version


def test_adapters_are_part_of_the_image(image: str) -> None:
    found = inside(image, "type -P claude-agent-acp codex-acp vibe-acp terok-opencode-acp").split()
    assert len(found) == 4


def test_the_image_says_what_it_holds(image: str) -> None:
    assert build.image_agents(image) == set(AGENTS)
    versions = build.image_versions(image)
    assert versions["claude-code"] in inside(image, "claude --version")
    assert inside(image, "cat /etc/terok/installed.env") == f"TEROK_INSTALLED_AGENTS={','.join(AGENTS)}\n"


# holds: image-dependencies-locked
def test_what_is_installed_is_what_the_lock_files_say(image: str) -> None:
    labels = json.loads(subprocess.check_output(["podman", "image", "inspect", "--format", "{{json .Labels}}", image]))
    recorded = dict(part.split("=", 1) for part in labels["ai.terok.locks"].split(","))
    locks = {path.name.split(".")[0]: path for path in LOCKS.iterdir()}
    assert {"tools", "claude", "codex"} <= set(recorded) <= set(locks)
    for name, digest in recorded.items():
        assert digest == f"sha256:{hashlib.sha256(locks[name].read_bytes()).hexdigest()}", name
    for name in (name for name in recorded if locks[name].name.endswith(".package-lock.json")):
        place = f"/home/dev/.npm-packages/lib/terok/{name}"
        installed = json.loads(inside(image, f"cat {place}/node_modules/.package-lock.json"))["packages"]
        locked = json.loads(locks[name].read_text())["packages"]
        assert installed and all(entry["integrity"] == locked[path]["integrity"] for path, entry in installed.items())
    frozen = inside(image, "python3 -m pip --python /opt/terok-tools/bin/python freeze").split()
    assert frozen and all(f"\n{line.lower()} " in f"\n{locks['tools'].read_text()}" for line in frozen)


def test_nobody_can_log_in_and_no_key_is_shipped(image: str) -> None:
    listing = inside(image, "ls /etc/ssh; stat -c '%s %a' /etc/ssh/authorized_keys.d/terok; sudo -n id -u")
    assert "ssh_host_" not in listing
    assert listing.splitlines()[-2:] == ["0 644", "0"]


def test_shells_are_wired_and_silent(image: str) -> None:
    assert inside(image, "bash -c true") == ""
    assert inside(image, "bash -c 'type -t _terok_apply_git_identity _terok_env_ready'").split() == ["function"] * 2
    assert inside(image, "ls -A /home/dev/.codex /home/dev/.claude 2>/dev/null || true") == ""
