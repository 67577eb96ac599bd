"""Which runtime a project gets."""

import pytest
from terok.lib.core import config, projects, runtime
from terok.lib.integrations import sandbox


def kind(loaded=None):
    return type(runtime.resolve_runtime(loaded)).__name__


# improves: 30-8.2-one-runtime
def test_the_order(project, configure, monkeypatch):
    project("p")
    loaded = projects.load_project("p")
    assert kind() == kind(loaded) == "PodmanRuntime"
    monkeypatch.setenv("TEROK_RUNTIME", " NULL ")
    assert kind(loaded.model_copy(update={"runtime": "crun"})) == "NullRuntime"
    monkeypatch.setenv("TEROK_RUNTIME", "crun")
    assert kind(loaded.model_copy(update={"runtime": "krun"})) == "PodmanRuntime"
    monkeypatch.delenv("TEROK_RUNTIME")
    configure("run: {runtime: krun}\n")
    assert runtime.runtime_name(loaded.model_copy(update={"runtime": "crun"})) == "crun"
    with pytest.raises(SystemExit, match="experimental"):
        runtime.resolve_runtime(loaded)


@pytest.mark.parametrize("value", ["", " ", "runc"])
def test_what_is_no_runtime(home, monkeypatch, value):
    monkeypatch.setenv("TEROK_RUNTIME", value)
    with pytest.raises(SystemExit, match="crun, krun or null"):
        runtime.resolve_runtime()


def test_krun_needs_the_flag(home, monkeypatch):
    monkeypatch.setenv("TEROK_RUNTIME", "krun")
    with pytest.raises(SystemExit, match="experimental"):
        runtime.resolve_runtime()
    monkeypatch.setattr(config, "is_experimental", lambda: True)
    assert runtime.runtime_name() == "krun"


def test_the_adapters_class_is_looked_up_when_it_is_used(home, monkeypatch):
    made = object()
    monkeypatch.setattr(sandbox, "PodmanRuntime", lambda: made)
    assert runtime.resolve_runtime() is made
    assert runtime.resolve_runtime() is made
