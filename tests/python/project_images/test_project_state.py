"""What is there of a project and what is out of date; which agents an image holds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from terok.lib.core import images
from terok.lib.core.projects import load_project
from terok.lib.domain import project_state
from terok.lib.domain.project_state import get_project_state, is_task_image_old
from terok.lib.orchestration import image
from terok_native import _lib

TASK = SimpleNamespace(mode="cli", task_id="k3v8h")
CONTAINER = "p1-cli-k3v8h"


def record(**changed: str) -> None:
    """The record of a build of project p1 as it is now, apart from these layers' hashes."""
    made = image.ProjectImage.load("p1")
    now = {"l0": made.l0_content_hash, "l1": made.l1_content_hash, "l2_cli": made.l2_content_hash, **changed}
    layers = {layer: {"tag": "t", "content_hash": content} for layer, content in now.items()}
    _lib.images_manifest_write(made.manifest_path, {"schema": 1, **layers})


# -- the state of a project ------------------------------------------------------------------------


def test_nothing_is_there_yet(account) -> None:
    account.project()
    assert get_project_state("p1") == {
        "dockerfiles": False, "dockerfiles_old": False, "images": False, "images_old": False, "stale_layers": [],
        "ssh": False, "gate": False, "gate_last_commit": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("built", "stale"),
    [({}, []), ({"l1": "x"}, ["l1"]), ({"l2_cli": "x", "l0": "y"}, ["l0", "l2"]), (None, ["l0", "l1", "l2"])],
)
def test_layers_that_are_out_of_date(account, built, stale) -> None:
    account.project()
    account.store.add("p1:l2-cli")
    image.generate_dockerfiles("p1")
    if built is not None:
        record(**built)
    state = get_project_state("p1", project=load_project("p1"))
    assert (state["images"], state["images_old"], state["stale_layers"]) == (True, bool(stale), stale)


def test_old_dockerfiles_make_every_layer_old(account) -> None:
    account.project()
    account.store.add("p1:l2-cli")
    image.generate_dockerfiles("p1")
    record()
    (account.stage() / "L1.cli.Dockerfile").write_text("FROM x\n")
    state = get_project_state("p1")
    assert state["dockerfiles_old"] and state["images_old"] and state["stale_layers"] == ["l0", "l1", "l2"]
    (account.stage() / "L0.Dockerfile").unlink()
    state = get_project_state("p1")
    assert not state["dockerfiles"] and not state["images_old"] and state["images"]


def test_a_project_that_cannot_be_rendered_is_logged(account, caplog) -> None:
    account.project()
    account.store.add("p1:l2-cli")
    image.generate_dockerfiles("p1")
    account.project(image={"user_snippet_file": "gone"})
    state = get_project_state("p1")
    assert not state["dockerfiles_old"] and state["stale_layers"] == ["l0", "l1", "l2"]
    assert "not found" in caplog.text
    assert project_state._detect_stale_layers(load_project("p1"), {}) == ["l0", "l1", "l2"]


def test_the_gate_and_its_last_commit(account, caplog) -> None:
    account.project(gate={"path": str(account.root / "gate.git")})
    asked: list[str] = []

    def provider(project: str) -> dict:
        asked.append(project)
        return {"commit_hash": "abc"}

    assert get_project_state("p1", provider)["gate"] is False and not asked
    (account.root / "gate.git").mkdir()
    assert get_project_state("p1", provider)["gate_last_commit"] == {"commit_hash": "abc"} and asked == ["p1"]
    state = get_project_state("p1", lambda project: 1 / 0)
    assert state["gate"] is True and state["gate_last_commit"] is None and "division" in caplog.text


def test_a_locked_or_broken_vault_has_no_key(account, monkeypatch) -> None:
    from contextlib import nullcontext

    from terok.lib.domain import vault

    account.project()

    def broken() -> None:
        raise OSError("no such vault")

    keys = SimpleNamespace(list_ssh_keys_for_scope=lambda scope: ["k"] if scope == "p1" else [])
    for opened, expected in ((lambda: nullcontext(None), False), (broken, False), (lambda: nullcontext(keys), True)):
        monkeypatch.setattr(vault, "maybe_vault_db", opened)
        assert get_project_state("p1")["ssh"] is expected


def test_an_unknown_project_is_a_user_error(account) -> None:
    with pytest.raises(SystemExit):
        get_project_state("nobody")


# -- the image a task runs -------------------------------------------------------------------------


def test_where_the_question_does_not_apply(account) -> None:
    account.project()
    assert is_task_image_old(None, TASK) is None
    assert is_task_image_old("p1", SimpleNamespace(mode="run", task_id="k3v8h")) is None
    assert is_task_image_old("p1", TASK) is None
    account.store.containers[CONTAINER] = (False, account.store.add("p1:l2-cli"))
    assert is_task_image_old("p1", TASK) is None
    account.store.containers[CONTAINER] = (True, "")
    assert is_task_image_old("p1", TASK) is None


# improves: 11-1.9-container-image 31-11.1-container-image
def test_the_image_that_the_container_runs_decides(account) -> None:
    account.project()
    label = {"terok.build_context_hash": image.build_context_hash("p1")}
    first = account.store.add("p1:l2-cli", key="first", labels=label)
    account.store.containers[CONTAINER] = (True, first)
    assert is_task_image_old("p1", TASK) is False
    # Built again from the same recipe, for newer agents: the record says that all is current, the container is not.
    account.store.add("p1:l2-cli", key="second", labels=label)
    record()
    assert is_task_image_old("p1", TASK) is True
    # The image went, the configuration did not change.
    del account.store.held[account.store.find("p1:l2-cli").id]
    assert is_task_image_old("p1", TASK) is False
    account.project(image={"user_snippet_inline": "RUN id"})
    assert is_task_image_old("p1", TASK) is True


def test_an_image_without_a_label_is_old_and_what_cannot_be_compared_is_unknown(account, caplog) -> None:
    account.project()
    account.store.containers[CONTAINER] = (True, account.store.add("p1:l2-cli"))
    assert is_task_image_old("p1", TASK) is True
    account.store.add("p1:l2-cli", key="x", labels={"terok.build_context_hash": "h"})
    account.store.containers[CONTAINER] = (True, account.store.find("p1:l2-cli").id)
    account.project(image={"agents": "nobody"})
    assert is_task_image_old("p1", TASK) is None
    account.project(text="project: [")
    assert is_task_image_old("p1", TASK) is None and "nobody" in caplog.text


# -- agents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "fragment"),
    [
        ("", "ubuntu-24.04"), ("  ", "ubuntu-24.04"), ("???", "ubuntu-24.04"), ("Fedora:44", "fedora-44"),
        ("quay.io/podman/stable:latest", "quay.io-podman-stable-latest"), ("--ubuntu-22.04--", "ubuntu-22.04"),
        ("x" * 130, "x" * 111 + "-"),
    ],
)  # fmt: skip
def test_names_of_images(base: str, fragment: str) -> None:
    from hashlib import sha1

    if len(base) > 120:
        fragment += sha1(base.encode()).hexdigest()[:8]
    assert images.base_dev_image(base) == f"terok-l0:{fragment}"
    assert images.agent_cli_image(base) == f"terok-l1-cli:{fragment}"
    assert images.project_cli_image("p1") == "p1:l2-cli" and images.project_dev_image("p1") == "p1:l2-dev"


@pytest.mark.parametrize(
    ("label", "agents"),
    [("claude,codex", {"claude", "codex"}), (" claude ,,", {"claude"}), ("", set()), (None, set())],
)
def test_what_an_image_says(account, label, agents) -> None:
    account.store.add("x:1", labels={} if label is None else {"ai.terok.agents": label})
    assert images.installed_agents("x:1") == agents
    assert images.installed_agents("missing:1") == frozenset()
    assert images.is_installed("claude", "x:1") and images.is_installed("vibe", "x:1") is (not agents)


# improves: 30-8.1-agents-by-id 11-1.10-no-misses
def test_a_rebuilt_image_is_asked_anew(account) -> None:
    assert images.installed_agents("x:1") == frozenset()
    account.store.add("x:1", key="1", labels={"ai.terok.agents": "claude"})
    assert images.installed_agents("x:1") == {"claude"}
    account.store.add("x:1", key="2", labels={"ai.terok.agents": "codex"})
    assert images.installed_agents("x:1") == {"codex"}
    images.installed_agents.cache_clear()
    assert images.installed_agents("x:1") == {"codex"}


# improves: 11-1.10-own-image
def test_the_projects_own_image_comes_first(account) -> None:
    account.project()
    project = load_project("p1")
    assert images.installed_agents_for_project(project) == frozenset()
    account.store.add("terok-l1-cli:debian-13", labels={"ai.terok.agents": "vibe"})
    assert images.installed_agents_for_project(project) == {"vibe"}
    record()
    account.store.add("t", labels={"ai.terok.agents": "codex"})
    assert images.installed_agents_for_project(project) == {"codex"}
    account.store.add("p1:l2-cli", labels={"ai.terok.agents": "claude"})
    assert images.installed_agents_for_project(project) == {"claude"}
    (account.stage() / "build_manifest.json").write_text('{"schema": 1, "l1": 5}')
    assert images.installed_agents_for_project(project) == {"claude"}


def test_an_agent_that_is_missing_is_a_user_error_with_the_command(account) -> None:
    account.project()
    project = load_project("p1")
    images.require_agent_installed(project, "vibe")
    account.store.add("p1:l2-cli", labels={"ai.terok.agents": "codex,claude"})
    images.require_agent_installed(project, "claude")
    with pytest.raises(SystemExit) as caught:
        images.require_agent_installed(project, "vibe", noun="Provider")
    text = str(caught.value.code)
    assert text.startswith("Provider `vibe` is not installed in image `p1:l2-cli` of project `p1`.\n")
    assert "Installed: claude, codex\n" in text
    assert "terok project build --agents claude,codex,vibe p1" in text


def test_state_says_nothing_on_standard_output(account, capsys) -> None:
    account.project()
    get_project_state("p1")
    is_task_image_old("p1", TASK)
    assert capsys.readouterr() == ("", "")
