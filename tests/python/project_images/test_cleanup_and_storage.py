"""Images listed, found without an owner and removed; how much room everything takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from double import FakePodman, first_on_path
from terok.lib.domain import image_cleanup, storage
from terok.lib.domain.image_cleanup import (
    CleanupResult,
    ImageInfo,
    cleanup_images,
    find_orphaned_images,
    list_images,
    remove_images,
)
from terok.lib.domain.storage import ORPHAN_PROJECT_ID, get_project_storage_detail, get_storage_overview

BUILT = {"terok.build_context_hash": "h"}


@pytest.fixture(autouse=True)
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePodman:
    """No image of the machine's own store shall count."""
    return first_on_path(tmp_path / "bin", monkeypatch)


def names(images: list[ImageInfo]) -> list[str]:
    return [image.full_name.removeprefix("localhost/") for image in images]


def info(repository: str, tag: str = "l2-cli", image_id: str = "0123456789abcdef") -> ImageInfo:
    return ImageInfo(repository, tag, image_id, "5 kB", "now")


# -- names and listings ----------------------------------------------------------------------------


def test_names_for_people() -> None:
    assert info("<none>", "<none>").full_name == "<none> (0123456789ab)"
    assert info("localhost/p1", "<none>").full_name == "localhost/p1:<none>"
    assert (info("localhost/p1").project_key, info("p1").project_key) == ("p1", "p1")
    assert info("a") == info("a") != info("b")


# improves: 11-1.11-foreign-images 11-1.11-sidecar
def test_what_is_listed(account) -> None:
    account.project()
    for name in ("terok-l0:a", "terok-l1-cli:a-claude", "terok-l1-sidecar:a", "p1:l2-cli", "p1:l2-dev", "other:1"):
        account.store.add(name)
    account.store.add("theirs:l2-cli", history=["RUN something"])
    account.store.add("gone:l2-cli", labels=BUILT)
    layers = ["terok-l0:a", "terok-l1-cli:a-claude", "terok-l1-sidecar:a"]
    assert names(list_images()) == [*layers, "p1:l2-cli", "p1:l2-dev", "gone:l2-cli"]
    assert names(list_images("p1")) == [*layers, "p1:l2-cli", "p1:l2-dev"]
    assert names(list_images("nobody")) == layers
    first = list_images()[0]
    assert (first.size, first.created, len(first.image_id)) == ("1 MB", "2 days ago", 64)
    # The identifier came with the listing.
    assert not account.store.asked


# improves: 11-1.11-broken-projects 31-11.2-broken-projects
@pytest.mark.parametrize("text", ["project: [", "project: {id: p2}\nnonsense: 1\n", "- 1\n", "project:\n  id: renamed\n"])
def test_images_of_a_broken_project_have_an_owner(account, text) -> None:
    account.project()
    account.project("p2", text=text)
    for project in ("p1", "p2", "gone"):
        account.store.add(f"{project}:l2-cli", labels=BUILT)
    if "renamed" in text:
        account.store.add("renamed:l2-cli", labels=BUILT)
    assert names(find_orphaned_images()) == ["gone:l2-cli"]


def test_orphans(account, monkeypatch) -> None:
    account.project()
    account.store.add("p1:l2-cli", labels=BUILT)
    account.store.add("gone:l2-dev", labels=BUILT)
    account.store.add("older:l2-cli", history=["/bin/sh -c #(nop) FROM localhost/terok-l1-cli:debian-13"])
    account.store.add("theirs:l2-cli", history=["FROM debian"])
    account.store.add("x:1", "y:1")
    for key, fields in {"1": {"labels": {"ai.terok.recipe": "r"}}, "2": {}, "3": {"labels": BUILT}}.items():
        account.store.add(key=key, **fields)
    found = find_orphaned_images()
    assert [image.repository for image in found[:2]] == ["<none>", "<none>"]
    assert names(found[2:]) == ["gone:l2-dev", "older:l2-cli"]
    monkeypatch.setattr(image_cleanup, "_known_project_ids", lambda: None)
    assert [image.repository for image in find_orphaned_images()] == ["<none>", "<none>"]


def test_projects_that_cannot_be_listed_own_everything(account, monkeypatch) -> None:
    from terok.lib.core import projects

    def fail() -> None:
        raise SystemExit("config.yml is broken")

    monkeypatch.setattr(projects, "discover_projects", fail)
    account.store.add("gone:l2-cli", labels=BUILT)
    assert find_orphaned_images() == []


# -- removal ---------------------------------------------------------------------------------------


def test_one_that_stays_does_not_stop_the_others(account, monkeypatch) -> None:
    account.store.add("a:l2-cli", labels=BUILT)
    account.store.add("b:l2-cli", labels=BUILT, in_use=True)
    account.store.add(key="dangling", labels=BUILT)
    planned = cleanup_images(dry_run=True)
    assert planned == CleanupResult([image.full_name for image in find_orphaned_images()], [], True)
    assert len(planned.removed) == 3 == len(account.store.held)
    done = cleanup_images()
    assert (len(done.removed), done.failed, done.dry_run) == (2, ["localhost/b:l2-cli"], False)
    assert [image.names for image in account.store.held.values()] == [["localhost/b:l2-cli"]]

    def broken(ref: str) -> None:
        raise RuntimeError(ref)

    monkeypatch.setattr(account.store, "image", broken)
    assert remove_images(iter([info("x"), info("y")])).failed == ["x:l2-cli", "y:l2-cli"]


def test_a_further_name_keeps_the_image(account) -> None:
    account.project()
    account.store.add("p1:l2-cli", "gone:l2-cli", labels=BUILT)
    assert cleanup_images().removed == ["localhost/gone:l2-cli"]
    assert [image.names for image in account.store.held.values()] == [["localhost/p1:l2-cli"]]


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1.5 GiB", 1610612736), ("300MB", 300_000_000), ("4.26 kB", 4260), ("0B", 0), ("2TiB", 2 * 1024**4),
        ("1.2.3GB", 0), ("2PB", 0), ("12", 0), ("", 0), ("size: 5MB", 5_000_000), ("1e3KB", 0), (".5MB", 500_000),
    ],
)  # fmt: skip
def test_sizes_as_podman_prints_them(text: str, size: int) -> None:
    assert storage.parse_image_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (999_999, "1000.0 KB"), (1_000_000, "1.0 MB"),
        (5 * 10**15, "5000.0 TB"), (-5, "-5 B"),
    ],
)  # fmt: skip
def test_sizes_for_people(size: int, text: str) -> None:
    assert storage.format_bytes(size) == text


def test_sums() -> None:
    from terok.lib.domain.storage import ProjectDetail, ProjectSummary, StorageOverview, TaskStorageInfo

    summary = ProjectSummary("a", 1, 20, 3, 400)
    detail = ProjectDetail("a", [info("a")], [TaskStorageInfo("t", 10, 200)], {"t": 100_000}, 3_000_000)
    overview = StorageOverview([info("terok-l0")], [], [summary])
    assert summary.total_bytes == 421 and overview.projects_bytes == 421 and overview.grand_total == 5421
    assert (detail.images_bytes, detail.workspace_bytes, detail.overlay_bytes) == (5000, 10, 100_000)
    assert detail.total_bytes == 3_105_010


def test_the_overview(account) -> None:
    account.project()
    account.project("p2", text="project: [")
    account.task_file("p1", "k3v8h", 1000)
    account.task_file("p1", "k3v8h", 500, "agent-config")
    account.task_file("p1", "m2222", 30)
    account.task_file("p2", "k3v8h", 7)
    (account.root / "state/sandbox-live/mounts/_claude-config").mkdir(parents=True)
    (account.root / "state/sandbox-live/mounts/_claude-config/x").write_bytes(b"y" * 11)
    for name, size in {"terok-l0:a": "100 MB", "p1:l2-cli": "5 MB", "p2:l2-cli": "6 MB", "gone:l2-cli": "7 MB"}.items():
        account.store.add(name, size=size, labels=BUILT)
    account.store.written["p1-cli-k3v8h"] = 99
    overview = get_storage_overview()
    assert names(overview.global_images) == ["terok-l0:a"] and overview.global_images_bytes == 100_000_000
    rows = {row.project_id: (row.image_bytes, row.workspace_bytes, row.task_count) for row in overview.projects}
    assert rows == {
        "p1": (5_000_000, 1030, 2), "p2": (6_000_000, 7, 1), ORPHAN_PROJECT_ID: (7_000_000, 0, 0),
    }  # fmt: skip
    assert overview.projects[-1].project_id == ORPHAN_PROJECT_ID == "(orphans)"
    assert overview.shared_mounts_bytes == 11
    assert overview.grand_total == 118_000_000 + 1037 + 11


# improves: 31-11.3-shared-layers
def test_layers_that_images_share_count_once(account, podman) -> None:
    account.project()
    account.project("p2")
    chain = {"terok-l0:a": ("a", 100), "terok-l1-cli:a-claude": ("ab", 150), "p1:l2-cli": ("abc", 153)}
    chain |= {"p2:l2-cli": ("abcd", 160), "gone:l2-cli": ("abx", 151)}
    ids = {name: account.store.add(name, size=f"{size} MB", labels=BUILT) for name, (_, size) in chain.items()}
    inspected = [
        {"Id": ids[name], "Size": size * 1_000_000, "RootFS": {"Layers": list(layers)}}
        for name, (layers, size) in chain.items()
    ]
    podman.answer("image", "inspect", stdout=json.dumps(inspected))
    overview = get_storage_overview()
    assert overview.global_images_bytes == 150_000_000
    assert [row.image_bytes for row in overview.projects] == [3_000_000, 7_000_000, 1_000_000]
    assert overview.grand_total == 161_000_000
    assert [image.size for image in overview.global_images] == ["100 MB", "150 MB"]
    assert get_project_storage_detail("p2").images_bytes == 10_000_000


# improves: 31-15-overlay-prefix
def test_what_a_container_wrote_belongs_to_one_project(account) -> None:
    account.project("a")
    account.project("a-cli", credentials={"scope": "project"})
    written = {"a-cli-k3v8h": 1, "a-run-k3v8h": 2, "a-run-m2222": 4, "a-cli-run-k3v8h": 8, "a-cli-cli-k3v8h": 16, "a-x": 32}
    account.store.written = written
    assert get_project_storage_detail("a").overlays == {"k3v8h": 3, "m2222": 4}
    (account.projects / "a-cli/mounts/_claude-config").mkdir(parents=True)
    (account.projects / "a-cli/mounts/_claude-config/x").write_bytes(b"y" * 13)
    detail = get_project_storage_detail("a-cli")
    assert detail.overlays == {"k3v8h": 24} and detail.credential_mounts_bytes == 13
    with pytest.raises(SystemExit):
        get_project_storage_detail("nobody")


def test_a_runtime_that_cannot_measure(account, monkeypatch) -> None:
    account.project()
    monkeypatch.delattr(type(account.store), "container_rw_sizes")
    assert get_project_storage_detail("p1").overlays == {}
