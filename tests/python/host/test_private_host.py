"""The private host itself: transparent for its command, gone without a trace, safe to abort.

Every test makes a host of its own, nested where the tests already run in one.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from lane import HOST, IMAGE

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="a private host needs root")
ENV = {name: value for name, value in os.environ.items() if name != "TEROK_TEST_HOST"}


def private(*command, **options):
    return subprocess.run(
        [HOST / "with-test-host", "--net", *command],
        env=ENV,
        timeout=300,
        text=True,
        capture_output=True,
        **options,
    )


def cgroups():
    return sorted(str(p) for p in Path("/sys/fs/cgroup").glob("*/libpod_parent*"))


def test_arguments_input_and_status_pass_through():
    done = private("sh", "-c", 'cat; printf "[%s]" "$@"; exit 9', "sh", "a b", "", "*", input="in ")
    assert (done.returncode, done.stdout) == (9, "in [a b][][*]")


def test_state_is_fresh_and_the_machine_keeps_nothing():
    before = Path("/proc/self/mountinfo").read_text(), sorted(os.listdir("/run")), cgroups()
    done = private(
        "sh",
        "-c",
        f"""
        test -z "$(ls /run/netns)" && touch /run/mine /dev/shm/mine
        {HOST}/as-rootful {HOST}/busybox-image
        {HOST}/as-rootful podman run -d --name left {IMAGE} sleep 60
        ls -d /sys/fs/cgroup/*/libpod_parent >&2""",
    )
    assert done.returncode == 0, done.stderr
    assert "libpod_parent" in done.stderr
    assert (
        Path("/proc/self/mountinfo").read_text(),
        sorted(os.listdir("/run")),
        cgroups(),
    ) == before
    assert not Path("/dev/shm/mine").exists()


def test_killing_the_wrapper_ends_every_process_of_the_host():
    mark = f"terok-{os.getpid()}-{time.monotonic_ns()}"
    wrapper = subprocess.Popen(
        [
            HOST / "with-test-host",
            "--net",
            "sh",
            "-c",
            f"setsid sleep 300 {mark} & echo up; exec sleep 300",
        ],
        env=ENV | {"MARK": mark},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert wrapper.stdout.readline() == "up\n"
    assert running(mark)
    wrapper.send_signal(signal.SIGKILL)
    wrapper.wait(60)
    end = time.monotonic() + 60
    while running(mark) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(mark)


def running(mark: str) -> list[int]:
    """Live processes with the mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_an_account_missing_on_the_machine_exists_inside_only():
    name = "nobody-has-this"
    done = subprocess.run(
        [
            HOST / "with-test-host",
            "--net",
            HOST / "as-tester",
            "sh",
            "-c",
            f"id -un; {HOST}/busybox-image && podman run --rm {IMAGE} id -u",
        ],
        env=ENV | {"TEROK_TEST_USER": name},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.stdout == f"{name}\n0\n", done.stderr
    assert name not in Path("/etc/passwd").read_text()


def test_the_tester_sees_a_login_environment_without_secrets():
    done = subprocess.run(
        [HOST / "with-test-host", "--net", HOST / "as-tester", "env"],
        text=True,
        env=ENV | {"ANTHROPIC_API_KEY": "sk-x", "TEROK_ROOT": "/x"},
        capture_output=True,
        timeout=300,
        check=True,
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert "ANTHROPIC_API_KEY" not in seen
    assert seen["TEROK_ROOT"] == "/x"
    assert seen["USER"] == os.environ.get("TEROK_TEST_USER", "tester")
    assert seen["XDG_RUNTIME_DIR"].startswith("/run/user/")


@pytest.mark.parametrize("script", ["as-rootful", "in-podman5"])
def test_lanes_that_would_leave_traces_refuse_an_open_network(script):
    done = subprocess.run(
        [HOST / "with-test-host", HOST / script, "true"],
        env=ENV,
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 125
    assert "with-test-host --net" in done.stderr


def test_a_home_on_disk_survives_with_its_images(lane_folder):
    home = lane_folder / "home"
    for command in (
        f"{HOST}/busybox-image",
        f"podman image exists {IMAGE} && podman run --rm {IMAGE} true",
    ):
        done = subprocess.run(
            [
                HOST / "with-test-host",
                "--net",
                "--home",
                home,
                HOST / "as-tester",
                "sh",
                "-c",
                command,
            ],
            env=ENV,
            text=True,
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr


def test_the_hermetic_internet_answers_known_names_only():
    done = private(
        "bash",
        "-c",
        f"""
        {HOST}/hermetic-internet good.test=198.51.100.7
        echo found >/tmp/$$.txt
        {HOST}/in-internet busybox httpd -f -p 198.51.100.7:80 -h /tmp &
        until (exec 3<>/dev/tcp/198.51.100.7/80) 2>/dev/null; do sleep 0.05; done
        {HOST}/as-tester {HOST}/busybox-image
        {HOST}/as-tester podman run --rm {IMAGE} sh -c \\
            "wget -qO- http://good.test/$$.txt; wget -qO- http://other.test/ || echo unknown"
        rm /tmp/$$.txt""",
    )
    assert done.stdout == "found\nunknown\n", done.stderr
