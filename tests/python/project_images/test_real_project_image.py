"""A project's image on the real agent layer of the account's store: built, run, compared, measured, removed.

Runs when ``TEROK_TEST_IMAGES`` is set, as the builds of the layers below do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures.real_image import AGENTS, agent_image
from terok_executor.container import build

PROJECT = "l2-real"
MARK = "terok.test=l2-real"
TASK = SimpleNamespace(mode="cli", task_id="k3v8h")
LABEL = f"LABEL {MARK}\n"
UPSTREAM = "https://somebody:s3cret-token@example.org/a\"b$HOME\\${PATH}'`id`/r.git"
SHOWN = UPSTREAM.replace("somebody:s3cret-token@", "")
BRANCH = 'x"y$z\\'

pytestmark = [
    pytest.mark.skipif(not os.environ.get("TEROK_TEST_IMAGES"), reason="TEROK_TEST_IMAGES is not set"),
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed"),
]


def podman(*words: str) -> str:
    return subprocess.run(["podman", *words], capture_output=True, text=True, timeout=600, check=True).stdout


def configure(root: Path, **image: str) -> None:
    content = {
        "project": {"security_class": "online"},
        "git": {"upstream_url": UPSTREAM, "default_branch": BRANCH},
        "image": {"base_image": build.BOOTSTRAP_IMAGE, "family": "deb", "agents": ",".join(AGENTS), **image},
    }
    folder = root / "projects" / PROJECT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.yml").write_text(json.dumps(content))
    (folder / "extra").write_text("RUN echo file > /etc/l2-order\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where projects and state are; podman keeps the account's own home, and with it the layers below."""
    from terok.lib.orchestration.image import build_images

    agent_image()
    root = tmp_path_factory.mktemp("l2")
    (root / "config.yml").write_text(json.dumps({"paths": {"user_projects_dir": str(root / "projects")}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEROK_CONFIG_FILE", str(root / "config.yml"))
        patch.setenv("TEROK_ROOT", str(root / "state"))
        configure(
            root, user_snippet_file="extra", user_snippet_inline=f'{LABEL}RUN echo "{{{{ inline }}}}" >> /etc/l2-order'
        )
        build_images(PROJECT)
        yield root
        subprocess.run(["podman", "rm", "-f", "-t", "0", f"{PROJECT}-cli-k3v8h"], capture_output=True, check=False)
        forget_images()


def forget_images() -> None:
    """Remove what was built here, without their names as well; older builds of other tests stay."""
    listed = ["podman", "images", "-q", "--filter", f"label={MARK}"]
    ids = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
    if ids:
        subprocess.run(["podman", "image", "rm", "-f", *set(ids)], capture_output=True, check=False)


def inside(tag: str, command: str) -> list[str]:
    # With the mapping of a task, podman would first copy two gigabytes.
    return podman("run", "--rm", "--network=none", tag, "sh", "-c", command).splitlines()


# improves: 11-1.7-l2-escape 11-1.7-l2-credentials
def test_values_reach_the_container_as_they_are_and_logins_do_not(root: Path) -> None:
    told = inside(
        f"{PROJECT}:l2-cli", 'printf "%s\\n" "$CODE_REPO" "$GIT_BRANCH" "$HOME" "$PWD"; id -un; cat /etc/l2-order'
    )
    assert told == [SHOWN, BRANCH, "/home/dev", "/workspace", "dev", "file", "{{ inline }}"]
    for words in (["image", "inspect"], ["image", "history", "--no-trunc"]):
        assert "s3cret" not in podman(*words, f"{PROJECT}:l2-cli")


def test_what_is_built_says_what_it_is(root: Path) -> None:
    from terok.lib.core.images import installed_agents_for_project
    from terok.lib.core.projects import load_project
    from terok.lib.domain.project_state import get_project_state
    from terok.lib.orchestration.image import build_context_hash, read_build_manifest

    labels = json.loads(podman("image", "inspect", f"{PROJECT}:l2-cli"))[0]["Config"]["Labels"]
    manifest = read_build_manifest(PROJECT) or {}
    assert labels["terok.build_context_hash"] == build_context_hash(PROJECT) == manifest["combined_hash"]
    assert installed_agents_for_project(load_project(PROJECT)) == set(AGENTS)
    state = get_project_state(PROJECT)
    assert (state["images"], state["images_old"], state["stale_layers"]) == (True, False, [])


# improves: 31-11.3-shared-layers
def test_a_projects_image_takes_no_more_than_it_adds(root: Path) -> None:
    from terok.lib.domain.storage import get_project_storage_detail, get_storage_overview

    overview = get_storage_overview()
    row = next(row for row in overview.projects if row.project_id == PROJECT)
    assert 0 < row.image_bytes < 1_000_000 < 100_000_000 < overview.global_images_bytes
    assert get_project_storage_detail(PROJECT).images_bytes < 1_000_000


# improves: 11-1.9-container-image 31-11.1-container-image
def test_a_container_keeps_its_old_image_when_the_project_is_built_anew(root: Path) -> None:
    from terok.lib.domain.project_state import get_project_state, is_task_image_old
    from terok.lib.orchestration.image import build_images

    podman("run", "-d", "--network=none", "--name", f"{PROJECT}-cli-k3v8h", f"{PROJECT}:l2-cli", "sleep", "600")
    assert is_task_image_old(PROJECT, TASK) is False
    configure(root, user_snippet_inline=f"{LABEL}RUN echo new > /etc/l2-order")
    assert is_task_image_old(PROJECT, TASK) is True and get_project_state(PROJECT)["stale_layers"] == ["l0", "l1", "l2"]
    build_images(PROJECT)
    assert get_project_state(PROJECT)["stale_layers"] == [] and is_task_image_old(PROJECT, TASK) is True
    podman("rm", "-f", "-t", "0", f"{PROJECT}-cli-k3v8h")
    assert inside(f"{PROJECT}:l2-cli", "cat /etc/l2-order") == ["new"]


def test_a_broken_instruction_is_told_with_its_cause(root: Path) -> None:
    from terok.lib.orchestration.image import build_images, read_build_manifest

    before = read_build_manifest(PROJECT)
    configure(root, user_snippet_inline="RUN echo it went wrong >&2; exit 7")
    with pytest.raises(SystemExit, match=r"Image build failed: .*l2-real:l2-cli"):
        build_images(PROJECT)
    assert read_build_manifest(PROJECT) == before


def test_images_without_a_project_go(root: Path) -> None:
    from terok.lib.domain.image_cleanup import find_orphaned_images, remove_images

    own = f"localhost/{PROJECT}:"
    shutil.rmtree(root / "projects" / PROJECT)
    orphans = [image for image in find_orphaned_images() if image.full_name.startswith(own)]
    assert [image.tag for image in orphans] == ["l2-cli"]
    assert remove_images(orphans).removed == [f"{own}l2-cli"]
    assert not podman("images", "-q", f"{PROJECT}:l2-cli")
