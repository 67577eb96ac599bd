"""A home of its own for every test, with one project; podman is never asked."""

import pytest
from fixtures.account import settled, writer


@pytest.fixture
def home(tmp_path, monkeypatch):
    return settled(
        tmp_path, monkeypatch, TEROK_ROOT="state", TEROK_CONFIG_DIR="system", XDG_CONFIG_HOME="config",
        XDG_DATA_HOME="data", XDG_STATE_HOME="xdg-state", XDG_RUNTIME_DIR="run", GIT_CONFIG_GLOBAL="gitconfig",
    )  # fmt: skip


@pytest.fixture
def project(home):
    """The project ``p1``; returns a function that writes its file anew."""

    def write(text="project:\n  id: p1\n  security_class: online\n", name="p1"):
        writer(home / f"config/terok/projects/{name}/project.yml")(text)

    write()
    return write


class Podman:
    """Stands in for podman: states by name of the container, and how often it was asked."""

    def __init__(self):
        self.states = {}
        self.asked = 0
        self.fails = False

    def __call__(self):
        return self

    def container_states(self, prefix):
        self.asked += 1
        if self.fails:
            raise RuntimeError("podman does not answer")
        return {name: state for name, state in self.states.items() if name.startswith(prefix)}

    def container(self, name):
        podman = self

        class Container:
            @property
            def state(self):
                podman.asked += 1
                if podman.fails:
                    raise RuntimeError("podman does not answer")
                return podman.states.get(name)

        return Container()


@pytest.fixture(autouse=True)
def podman(monkeypatch):
    from terok.lib.integrations import sandbox

    podman = Podman()
    monkeypatch.setattr(sandbox, "PodmanRuntime", podman)
    return podman
