"""A home of its own for every test, with one project; podman is never asked."""

import pytest

GONE = ("TEROK_STATE_DIR", "TEROK_SANDBOX_LIVE_DIR", "TEROK_SANDBOX_STATE_DIR", "TEROK_CONFIG_FILE", "NO_COLOR",
        "FORCE_COLOR")  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in GONE:
        monkeypatch.delenv(name, raising=False)
    for name, below in {
        "HOME": ".",
        "TEROK_ROOT": "state",
        "TEROK_CONFIG_DIR": "system",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "xdg-state",
        "XDG_RUNTIME_DIR": "run",
        "GIT_CONFIG_GLOBAL": "gitconfig",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / below))
    from terok.lib.core import config

    config._validated_config_cache = config._raw_config_cache = None
    return tmp_path


@pytest.fixture
def project(home):
    """The project ``p1``; returns a function that writes its file anew."""

    def write(text="project:\n  id: p1\n  security_class: online\n", name="p1"):
        path = home / f"config/terok/projects/{name}/project.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

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
