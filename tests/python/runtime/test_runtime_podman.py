"""The podman back end against a stand-in: exact argument lists, answers, failures."""

from __future__ import annotations

import io
import os
import subprocess
import time
from pathlib import Path

import pytest
from double import FakePodman
from terok_sandbox.runtime import (
    Container,
    ContainerRemoveResult,
    ContainerRuntime,
    ExecResult,
    Image,
    NullRuntime,
    PodmanRuntime,
    PortReservation,
)

RT = PodmanRuntime()


@pytest.mark.parametrize(
    ("part", "state", "running"),
    [
        ("echo Running", "running", False),
        ("echo true", "true", True),
        ("echo", None, False),
        ("echo broken >&2; exit 125", None, False),
    ],
)
def test_state_queries(podman: FakePodman, part: str, state: str | None, running: bool) -> None:
    podman.plays(part)
    container = RT.container("c1")
    assert (container.state, container.running) == (state, running)
    assert podman.calls == [
        ["container", "inspect", "-f", "{{.State.Status}}", "c1"],
        ["container", "inspect", "-f", "{{.State.Running}}", "c1"],
    ]


def test_sizes_and_image_of_a_container(podman: FakePodman) -> None:
    podman.plays('[ "$2" = inspect ] && [ "$3" = --size ] && echo 42 && exit 0; echo abc')
    container = RT.container("c1")
    assert (container.rw_size, container.image.ref) == (42, "abc")
    podman.plays("echo many")
    assert container.rw_size is None


@pytest.mark.usefixtures("no_podman")
def test_without_podman_queries_are_neutral_and_changes_are_refused() -> None:
    container, image = RT.container("c1"), RT.image("i")
    assert (container.state, container.running, container.image, container.rw_size) == (None, False, None, None)
    assert (image.id, image.exists(), image.labels(), image.history(), image.remove()) == (None, False, {}, [], False)
    assert (RT.images(), RT.containers_with_prefix("p"), RT.container_states("p"), RT.container_rw_sizes("p")) == (
        [],
        [],
        {},
        {},
    )
    with pytest.raises(RuntimeError) as caught:
        container.start()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        container.wait()
    with pytest.raises(FileNotFoundError):
        RT.exec(container, ["true"])
    with pytest.raises(FileNotFoundError):
        container.logs()
    assert container.stream_initial_logs(lambda _: True, 1.0) is False
    assert RT.force_remove([container])[0].error == "podman not found"


def test_start_and_stop(podman: FakePodman) -> None:
    container = RT.container("c1")
    container.start()
    container.stop()
    container.stop(timeout=0)
    assert podman.calls == [["start", "c1"], ["stop", "--time", "10", "c1"], ["stop", "--time", "0", "c1"]]
    podman.plays("echo oops >&2; exit 125")
    with pytest.raises(RuntimeError, match=r"rc=125.*oops"):
        container.start()
    podman.plays("exit 3")
    with pytest.raises(RuntimeError, match="<no output>"):
        container.stop()


def test_a_name_is_never_an_option(podman: FakePodman) -> None:
    container = RT.container("--all")
    with pytest.raises(RuntimeError, match="--all"):
        container.stop()
    assert container.state is None
    assert not RT.force_remove([container])[0].removed
    assert podman.calls == []


@pytest.mark.parametrize("code", [0, 42, 124, 125])
def test_wait_gives_any_status(podman: FakePodman, code: int) -> None:
    podman.plays(f"echo {code}")
    assert RT.container("c1").wait() == code
    assert podman.calls == [["wait", "c1"]]


def test_wait_failures(podman: FakePodman) -> None:
    container = RT.container("c1")
    podman.plays("echo abc; echo why >&2")
    with pytest.raises(RuntimeError, match=r"abc.*why"):
        container.wait()
    podman.plays("echo 'no such container' >&2; exit 125")
    with pytest.raises(RuntimeError, match=r"c1.*returncode=125.*no such container"):
        container.wait()
    podman.plays("exec sleep 30")
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"c1.*0\.2 s"):
        container.wait(0.2)
    assert time.monotonic() - begun < 25


def test_an_interrupt_ends_a_long_wait(podman: FakePodman) -> None:
    import signal
    import threading

    podman.plays("exec sleep 30")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        RT.container("c1").wait()
    assert time.monotonic() - begun < 25


def test_copy_in(podman: FakePodman, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    container = RT.container("c1")
    container.copy_in(tmp_path / "f", "/d/f")
    container.copy_in(tmp_path, "/d")
    assert podman.calls == [["cp", f"{tmp_path}/f", "c1:/d/f"], ["cp", f"{tmp_path}/.", "c1:/d"]]
    podman.plays("echo 'could not be found on container' >&2; exit 125")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        container.copy_in(tmp_path, "/gone")
    assert caught.value.returncode == 125 and "could not be found" in caught.value.stderr


def test_login_starts_nothing(podman: FakePodman) -> None:
    login = ["podman", "exec", "-it", "c1"]
    assert RT.container("c1").login_command() == [*login, "tmux", "new-session", "-A", "-s", "main"]
    assert RT.container("c1").login_command(command=("bash", "-l")) == [*login, "bash", "-l"]
    assert podman.calls == []


def test_handles_are_values() -> None:
    assert RT.container("x") == PodmanRuntime().container("x") != RT.container("y")
    assert len({RT.container("x"), RT.container("x"), RT.image("x")}) == 2
    assert (repr(RT.container("x")), repr(RT.image("x"))) == ("PodmanContainer(name='x')", "PodmanImage(ref='x')")


def test_image_verbs(podman: FakePodman) -> None:
    podman.plays(
        """case "$2" in inspect) case "$4" in *Labels*) echo '{"a":"b"}';; *) echo 12ab;; esac;;
        history) printf 'RUN x\\n\\nADD y\\n';; esac"""
    )
    image = RT.image("localhost/i:1")
    assert (image.id, image.exists(), image.labels(), image.history(), image.remove()) == (
        "12ab",
        True,
        {"a": "b"},
        ["RUN x", "ADD y"],
        True,
    )
    assert podman.calls == [
        ["image", "inspect", "-f", "{{.Id}}", "localhost/i:1"],
        ["image", "exists", "localhost/i:1"],
        ["image", "inspect", "--format", "{{json .Config.Labels}}", "localhost/i:1"],
        ["image", "history", "--no-trunc", "--format", "{{.CreatedBy}}", "localhost/i:1"],
        ["image", "rm", "localhost/i:1"],
    ]


@pytest.mark.parametrize("labels", ["null", "garbage", "", '{"a": 1}'])
def test_odd_labels_are_no_labels(podman: FakePodman, labels: str) -> None:
    podman.plays(f"echo '{labels}'")
    assert RT.image("i").labels() == {}


def test_image_list(podman: FakePodman) -> None:
    podman.plays("printf 'r\\tt\\tsha256:1\\t4 MB\\t2 weeks ago\\nr\\tt\\tsha256:2\\t4 MB\\n'")
    (image,) = RT.images(dangling_only=True)
    assert (image.ref, image.repository, image.tag, image.size, image.created) == (
        "sha256:1",
        "r",
        "t",
        "4 MB",
        "2 weeks ago",
    )
    form = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}\t{{.Created}}"
    assert podman.calls == [["images", "--filter", "dangling=true", "--format", form, "--no-trunc"]]


def test_lists_by_prefix(podman: FakePodman) -> None:
    podman.plays(
        """case "$*" in *json*) echo '[{"Names":["a.b-x"],"State":"Running"},{"Names":["a.b-y"],"State":"exited"}]';;
        *--size*) printf 'a.b-x\\t12.5MB (virtual 1.23GB)\\na.b-y\\tnot-a-size\\na.b-z\\t1MiB\\n';;
        *) printf 'a.b-x\\na.b-y\\n';; esac"""
    )
    assert [c.name for c in RT.containers_with_prefix("a.b")] == ["a.b-x", "a.b-y"]
    assert RT.container_states("a.b") == {"a.b-x": "running", "a.b-y": "exited"}
    assert RT.container_rw_sizes("a.b") == {"a.b-x": 12_500_000, "a.b-z": 1_048_576}
    assert podman.calls[0] == ["ps", "-a", "--filter", r"name=^a\.b-", "--format", "{{.Names}}", "--no-trunc"]


def test_exec(podman: FakePodman) -> None:
    podman.plays("echo out; echo err >&2; exit 7")
    container = RT.container("c1")
    assert RT.exec(container, ["sh", "-c", "x y"]) == ExecResult(7, "out\n", "err\n")
    assert not RT.exec(container, ["x"]).ok
    assert podman.calls[0] == ["exec", "c1", "sh", "-c", "x y"]
    podman.plays("exec sleep 30")
    with pytest.raises(subprocess.TimeoutExpired):
        RT.exec(container, ["x"], timeout=0.2)
    for run in (RT.exec, NullRuntime().exec):
        with pytest.raises(ValueError, match="no command"):
            run(container, [])


def test_force_remove(podman: FakePodman) -> None:
    podman.plays(
        """case "$3" in b) echo locked >&2; exit 1;; c) echo 'Error: No Such Container' >&2; exit 1;; d) exit 4;; esac"""
    )
    removed = RT.force_remove([RT.container(name) for name in "abcd"])
    assert removed == [
        ContainerRemoveResult("a", True),
        ContainerRemoveResult("b", False, "locked"),
        ContainerRemoveResult("c", True),
        ContainerRemoveResult("d", False, "exit code 4"),
    ]
    assert podman.calls[0] == ["rm", "-f", "a"]
    assert RT.force_remove([]) == [] and len(podman.calls) == 4


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    """Return the children of this process, those that nothing has reaped yet included; other tests may have some."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


class TestStreams:
    def test_lines_as_they_come(self, podman: FakePodman) -> None:
        podman.plays("echo a; echo b >&2; sleep 0.1; printf '\\377x\\r\\nlast'; sleep 60 & wait")
        with RT.container("c1").logs(follow=True, tail=5) as stream:
            assert next(stream) in "ab"
            assert next(stream) in "ab"
            assert next(stream) == "\ufffdx"
            process = stream.process
        assert process.returncode is not None
        assert podman.calls == [["logs", "-f", "--tail", "5", "c1"]]
        stream.close()
        assert list(stream) == []

    def test_much_standard_error_does_not_block(self, podman: FakePodman) -> None:
        podman.plays("head -c 300000 /dev/zero | tr '\\0' x >&2; echo; echo end")
        with RT.container("c1").logs() as stream:
            assert list(stream)[-1] == "end"

    @pytest.mark.parametrize(
        ("part", "limit", "found"),
        [
            ("echo a; sleep 0.2; echo '>> init complete'; exec sleep 30", 10, True),
            ("echo a; echo b", 10, False),
            ("printf 'b\\n>> init complete'", 10, True),
            ("exec sleep 30", 0.3, False),
            ("head -c 200000 /dev/zero | tr '\\0' x; printf '\\377\\n>> init complete\\n'", 10, True),
            ("echo '>> init complete' >&2", None, True),
        ],
    )
    def test_readiness(
        self, podman: FakePodman, capsys: pytest.CaptureFixture[str], part: str, limit: float | None, found: bool
    ) -> None:
        podman.plays(part)
        begun = time.monotonic()
        assert RT.container("c1").stream_initial_logs(lambda line: ">> init complete" in line, limit) is found
        assert time.monotonic() - begun < 25
        assert podman.calls == [["logs", "-f", "c1"]]
        if part.startswith("echo a"):
            assert capsys.readouterr().out.startswith("a\n")

    # holds: hostile-text-is-cleaned
    def test_output_before_readiness_cannot_steer_the_terminal(
        self, podman: FakePodman, capsys: pytest.CaptureFixture[str]
    ) -> None:
        podman.plays(r"printf '\033]52;c;QQ\007\033[2Ja\033[1mb\r\n\n  \n\033]0;x\033\\>> init \033[0mcomplete\nlater\n'")
        seen: list[str] = []
        ready = RT.container("c1").stream_initial_logs(lambda line: seen.append(line) or "complete" in line, 10)
        assert ready and seen == ["a\x1b[1mb", ">> init \x1b[0mcomplete"]
        assert capsys.readouterr().out == "a\x1b[1mb\n>> init \x1b[0mcomplete\n"

    # holds: hostile-text-is-cleaned
    def test_lines_of_a_log_are_clean_and_bounded(self, podman: FakePodman) -> None:
        podman.plays(r"printf '\033]0;x\007a\033[31mb\n'; head -c 600000 /dev/zero | tr '\0' x; printf '\nend'")
        with RT.container("c1").logs() as stream:
            first, long, last = list(stream)
        assert (first, last) == ("a\x1b[31mb", "end") and len(long) < 300_000

    def test_part_of_a_line_is_shown_before_its_end(
        self, podman: FakePodman, capsys: pytest.CaptureFixture[str]
    ) -> None:
        podman.plays("printf 'pulling 50%%'; exec sleep 30")
        assert RT.container("c1").stream_initial_logs(lambda _: True, 0.5) is False
        assert capsys.readouterr().out.startswith("pulling 50%")

    def test_a_failing_check_is_no_readiness(self, podman: FakePodman) -> None:
        podman.plays("echo a; exec sleep 30")
        assert RT.container("c1").stream_initial_logs(lambda _: 1 // 0 == 0, 10) is False

    def test_nothing_is_left_open(self, podman: FakePodman) -> None:
        podman.plays("echo ready; exec sleep 30")
        container = RT.container("c1")
        container.stream_initial_logs(lambda _: True, 5)
        before = open_descriptors(), children()
        for _ in range(20):
            assert container.stream_initial_logs(lambda _: True, 5)
        assert (open_descriptors(), children()) == before


class TestExecStdio:
    def test_frames_come_back_before_the_end(self, podman: FakePodman) -> None:
        podman.plays("exec cat")
        ours, theirs = os.pipe()
        back, out = os.pipe()
        with os.fdopen(ours, "rb") as stdin, os.fdopen(out, "wb") as stdout, os.fdopen(theirs, "wb", 0) as feed:
            import threading

            result: list[int] = []
            job = threading.Thread(
                target=lambda: result.append(RT.exec_stdio(RT.container("c1"), ["x"], stdin=stdin, stdout=stdout))
            )
            job.start()
            feed.write(b"abc")
            assert os.read(back, 10) == b"abc"
            feed.close()
            job.join(60)
            assert result == [0] and not stdout.closed
        os.close(back)

    def test_status_streams_and_environment(self, podman: FakePodman) -> None:
        podman.plays("cat >&2; echo out; exit 9")
        out, err = io.BytesIO(), io.BytesIO()
        env = {"A": "1", "MY_TOKEN": "s3cret"}
        code = RT.exec_stdio(
            RT.container("c1"), ["x", "y"], stdin=io.BytesIO(b"i" * 200_000), stdout=out, stderr=err, env=env
        )
        assert (code, out.getvalue(), len(err.getvalue())) == (9, b"out\n", 200_000)
        assert podman.calls == [["exec", "-i", "-e", "A=1", "-e", "MY_TOKEN", "c1", "x", "y"]]
        assert "MY_TOKEN=s3cret" in podman.env

    def test_a_limit_ends_the_child(self, podman: FakePodman) -> None:
        podman.plays('echo $$ >"$here/pid"; exec sleep 60')
        with pytest.raises(subprocess.TimeoutExpired):
            RT.exec_stdio(RT.container("c1"), ["x"], stdin=io.BytesIO(), stdout=io.BytesIO(), timeout=1)
        pid = int((podman.folder / "pid").read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    def test_an_empty_command_starts_nothing(self, podman: FakePodman) -> None:
        with pytest.raises(ValueError, match="no command"):
            RT.exec_stdio(RT.container("c1"), [], stdin=io.BytesIO(), stdout=io.BytesIO())
        assert podman.calls == []


def test_ports_are_held(podman: FakePodman) -> None:
    import socket

    with RT.reserve_port() as port:
        assert isinstance(port, PortReservation)
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port.port))
    port.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port.port))


def test_protocols_hold_for_all_back_ends() -> None:
    for runtime in (PodmanRuntime(), NullRuntime()):
        assert isinstance(runtime, ContainerRuntime)
        assert isinstance(runtime.container("c"), Container)
        assert isinstance(runtime.image("i"), Image)
    assert not isinstance(object(), ContainerRuntime)
