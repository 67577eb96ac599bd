"""The back end without containers."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from terok_sandbox.runtime import ContainerRemoveResult, ExecResult, NullRuntime


def test_unknown_containers_are_harmless() -> None:
    runtime = NullRuntime()
    container = runtime.container("c")
    assert (container.state, container.image, container.rw_size, container.running) == (None, None, None, False)
    assert container.wait() == 0 and container.stream_initial_logs(lambda _: False, 0) is True
    assert container.login_command(command=("a", "b")) == ["null-exec", "c", "a", "b"]
    assert list(container.logs()) == []


def test_fixtures_are_given_back() -> None:
    runtime = NullRuntime()
    runtime.set_container_image("p-c", "i")
    runtime.set_container_rw_size("p-c", 7)
    runtime.set_exit_code("p-c", 124)
    runtime.set_ready_result("p-c", False)
    runtime.add_image("i", repository="r", tag="<none>", size="1 MB", created="now", labels={"a": "b"}, history=("x",))
    runtime.add_image("j", repository="r", tag="1", size="1 MB", created="now")
    container = runtime.container("p-c")
    container.start()
    assert container.running and [c.name for c in runtime.containers_with_prefix("p")] == ["p-c"]
    container.stop()
    assert (container.state, container.rw_size, container.wait()) == ("exited", 7, 124)
    assert container.stream_initial_logs(lambda _: True, None) is False
    image = container.image
    assert (image.id, image.labels(), image.history()) == ("i", {"a": "b"}, ["x"])
    assert [i.ref for i in runtime.images(dangling_only=True)] == ["i"]
    assert image.remove() and not image.exists()


def test_conversations_are_played() -> None:
    runtime = NullRuntime()
    container = runtime.container("c")
    runtime.set_exec_result("c", ("x",), ExecResult(3, "o", "e"))
    assert runtime.exec(container, ["x"]).exit_code == 3 and runtime.exec(container, ["y"]).ok
    runtime.set_exec_stdio_script("c", ("t",), [("read", b"hi"), ("write", b"yo")], exit_code=5)
    out = io.BytesIO()
    assert runtime.exec_stdio(container, ["t"], stdin=io.BytesIO(b"hi"), stdout=out) == 5
    assert out.getvalue() == b"yo"
    with pytest.raises(AssertionError, match="expected"):
        runtime.exec_stdio(container, ["t"], stdin=io.BytesIO(b"no"), stdout=out)
    with pytest.raises(ValueError, match="sideways"):
        runtime.set_exec_stdio_script("c", ("t",), [("sideways", b"")])


def test_recorders_and_removal() -> None:
    runtime = NullRuntime()
    container = runtime.container("c")
    container.start()
    container.copy_in(Path("/s"), "/d")
    assert runtime._copy_in_calls == [("c", Path("/s"), "/d")]
    assert runtime.force_remove([container]) == [ContainerRemoveResult("c", True)]
    assert container.state is None and runtime._force_remove_calls == [["c"]]
    with runtime.reserve_port() as port:
        assert port.port > 0
