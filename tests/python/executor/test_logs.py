"""Waiting and logs, with a fake podman whose argv is asserted."""

from __future__ import annotations

import select

import pytest
from terok_executor.container import logs
from terok_executor.container.runner import AgentRunner


def test_logs_argv_has_a_fixed_order():
    full = logs.build_logs_cmd("x", follow=True, timestamps=True, tail=10, since="30m")
    assert full == ["podman", "logs", "-f", "--timestamps", "--tail", "10", "--since", "30m", "x"]
    assert logs.build_logs_cmd("x", tail=0, since="") == ["podman", "logs", "--tail", "0", "x"]


@pytest.mark.parametrize("code", [0, 7, 124, 125, 137])
def test_wait_returns_the_containers_code(podman, code):
    podman.answer("wait", "c", stdout=f"{code}\n")
    assert AgentRunner().wait_for_exit("c") == code
    assert podman.calls == [["wait", "c"]]


def test_wait_failures_are_told_apart(podman):
    podman.answer("wait", "gone", code=125, stderr="Error: no such container")
    podman.answer("wait", "odd", stdout="not-a-number\n")
    podman.answer("wait", "slow", sleep=30)
    with pytest.raises(RuntimeError, match=r"returncode=125.*no such container"):
        logs.wait_for_exit("gone")
    with pytest.raises(RuntimeError, match="not-a-number"):
        logs.wait_for_exit("odd")
    with pytest.raises(TimeoutError, match=r"slow.*0\.3"):
        logs.wait_for_exit("slow", timeout=0.3)


def test_missing_podman(no_podman):
    with pytest.raises(FileNotFoundError):
        logs.wait_for_exit("c")


def test_reading_joins_both_streams(podman):
    podman.answer("logs", stdout="out\n", stderr="err\n")
    assert AgentRunner().logs("c", tail=3) == "out\nerr\n"
    assert podman.calls == [["logs", "--tail", "3", "c"]]


def test_reading_a_missing_container(podman):
    with pytest.raises(RuntimeError, match="`c`"):
        AgentRunner().logs("c")


def test_an_archive_holds_both_streams_and_survives_a_failure(podman, tmp_path):
    target = tmp_path / "archive.log"
    podman.answer("logs", "--timestamps", "good", stdout="out\n", stderr="err\n")
    podman.answer("logs", "--timestamps", "slow", stdout="half", sleep=30)
    assert AgentRunner().capture_logs("good", target)
    assert target.read_text() == "out\nerr\n"
    assert not AgentRunner().capture_logs("bad", target)
    assert not AgentRunner().capture_logs("slow", target, timeout=0.3)
    assert target.read_text() == "out\nerr\n", "the good archive is still there"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["archive.log"], "nothing partial is left"


def test_an_archive_that_cannot_be_written(podman, tmp_path):
    podman.answer("logs", stdout="out\n")
    assert not AgentRunner().capture_logs("good", tmp_path / "no" / "such" / "file")


def test_a_streamed_process_can_be_polled(podman):
    podman.answer("logs", "-f", "c", stdout="line\n", sleep=30)
    process = AgentRunner().stream_logs_process("c", follow=True)
    try:
        assert select.select([process.stdout], [], [], 10)[0]
        assert process.stdout.read1(4096) == b"line\n"
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_a_runner_has_one_backend():
    class Facade:
        runtime = object()

    assert AgentRunner(sandbox=Facade(), runtime=Facade.runtime).runtime is Facade.runtime
    with pytest.raises(ValueError, match="same backend instance"):
        AgentRunner(sandbox=Facade(), runtime=object())
