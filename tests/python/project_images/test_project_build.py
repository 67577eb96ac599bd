"""Dockerfiles and builds of projects. Podman writes down how it was called; what images say comes from the stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from double import FakePodman, first_on_path
from terok.lib.core.projects import load_project
from terok.lib.orchestration import image

#: `images` lists what the stand-in has, `answer` is what a build does.
PART = """
case "$1 $2" in
'image exists') for last; do :; done; grep -qx "$last" "$here/images" 2>/dev/null; exit $?;;
build*) [ -f "$here/answer" ] && . "$here/answer";;
esac
"""
L0, L1 = "terok-l0:debian-13", "terok-l1-cli:debian-13-claude"


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePodman:
    fake = first_on_path(tmp_path / "bin", monkeypatch).plays(PART)
    (fake.folder / "images").write_text(f"{L0}\n{L1}\n")
    return fake


def builds(podman: FakePodman) -> list[list[str]]:
    return [call for call in podman.calls if call[0] == "build"]


def hashes(project: str = "p1") -> tuple[str, str, str, str]:
    made = image.ProjectImage.load(project)
    return made.l0_content_hash, made.l1_content_hash, made.l2_content_hash, made.context_hash


def layers_say(account, l0: str, l1: str) -> None:
    """What the labels of both layers below projects say they were made from; nothing for the empty text."""
    for tag, recipe in ((L0, l0), (L1, l1)):
        account.store.add(tag, labels={"ai.terok.recipe": recipe} if recipe else {})


# -- Dockerfiles -----------------------------------------------------------------------------------


def test_dockerfiles_are_written_where_the_manifest_goes(account, capsys) -> None:
    account.project(git={"upstream_url": "https://u:tok@example.org/r.git", "default_branch": "main"})
    image.generate_dockerfiles("p1")
    assert capsys.readouterr().out.count(str(account.stage())) == 1
    rendered = image.render_all_dockerfiles(load_project("p1"))
    assert list(rendered) == ["L0.Dockerfile", "L1.cli.Dockerfile", "L2.Dockerfile"]
    for name, text in rendered.items():
        assert (account.stage() / name).read_text() == text
    assert 'ENV CODE_REPO="https://example.org/r.git" GIT_BRANCH="main"\n' in rendered["L2.Dockerfile"]
    assert 'ai.terok.agents="claude"' in rendered["L1.cli.Dockerfile"]
    assert {"scripts", "tmux", "toad-agents"} <= {entry.name for entry in account.stage().iterdir()}
    assert not (account.stage() / "help.d").exists() and not (account.stage() / "build_manifest.json").exists()


def test_a_family_given_for_one_call(account) -> None:
    account.project(image={"base_image": "rockylinux:9"})
    with pytest.raises(SystemExit, match="family: rpm"):
        image.generate_dockerfiles("p1")
    image.generate_dockerfiles("p1", family="rpm")
    assert "dnf" in (account.stage() / "L0.Dockerfile").read_text()


# improves: 11-1.8-user-errors
@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"image": {"agents": "claude,nobody"}}, "Unknown roster entries: nobody"),
        ({"image": {"base_image": "rockylinux:9"}}, "Cannot infer package family"),
        ({"image": {"user_snippet_file": "gone"}}, "not found"),
        ({"image": {"user_snippet_inline": "RUN a \\"}}, "in the middle of an instruction"),
        ({"git": {"default_branch": "a\x7fb"}}, "control characters"),
    ],
)
def test_mistakes_are_told_before_anything_is_built(account, podman, sections, words) -> None:
    (podman.folder / "images").write_text("terok-l0:rockylinux-9\nterok-l1-cli:rockylinux-9-claude\n")
    account.project(**sections)
    for call in (image.build_images, image.generate_dockerfiles):
        with pytest.raises(SystemExit, match=words) as caught:
            call("p1")
        assert isinstance(caught.value.code, str)
    assert not builds(podman)


def test_a_disk_that_takes_nothing_is_named(account) -> None:
    account.project()
    account.stage().parent.mkdir(parents=True)
    account.stage().write_text("")
    with pytest.raises(SystemExit, match=r"(?s)cannot write the build files of project `p1`.*hint: move away"):
        image.generate_dockerfiles("p1")


# -- builds ----------------------------------------------------------------------------------------


def test_the_calls_of_a_build(account, podman, capsys) -> None:
    account.project()
    layers_say(account, *hashes()[:2])
    image.build_images("p1", include_dev=True)
    stage, label = str(account.stage()), f"terok.build_context_hash={hashes()[3]}"
    private = [f"--{kind}=private" for kind in ("pid", "ipc", "uts", "cgroupns", "network")]
    own = ["build", "-f", f"{stage}/L2.Dockerfile", *private, "--build-arg"]
    assert builds(podman) == [
        [*own, f"BASE_IMAGE={L1}", "--label", label, "-t", "p1:l2-cli", stage],
        [*own, f"BASE_IMAGE={L0}", "--label", label, "-t", "p1:l2-dev", stage],
    ]
    shown = capsys.readouterr().out
    for part in ("==> layers below", "Dockerfiles of project", "==> p1:l2-cli on", "$ podman build", "==> p1:l2-dev on"):
        assert part in shown


def test_a_full_rebuild_uses_no_cache(account, podman) -> None:
    account.project()
    image.build_images("p1", full_rebuild=True)
    assert [("--no-cache" in call, "--pull=always" in call) for call in builds(podman)] == [
        (True, True), (True, False), (True, False),
    ]  # fmt: skip
    image.build_images("p1", refresh_agents=True)
    assert not any("--no-cache" in call for call in builds(podman)[3:])


def test_the_record_of_a_build(account, podman) -> None:
    account.project()
    l0, l1, l2, combined = hashes()
    layers_say(account, l0, l1)
    assert image.read_build_manifest("p1") is None
    image.build_images("p1")
    assert account.manifest() == image.read_build_manifest("p1") == {
        "schema": 1, "base_image": "debian:13",
        "l0": {"tag": L0, "content_hash": l0}, "l1": {"tag": L1, "content_hash": l1},
        "l2_cli": {"tag": "p1:l2-cli", "content_hash": l2}, "combined_hash": combined,
    }  # fmt: skip
    assert image.stale_layers(load_project("p1"), image.render_all_dockerfiles(load_project("p1"))) == []


# improves: 11-1.8-carry-forward
@pytest.mark.parametrize("earlier", [None, "current", "damaged"])
def test_the_record_tells_what_the_layers_were_really_made_from(account, podman, earlier) -> None:
    account.project()
    l0, l1, l2, _ = hashes()
    layers_say(account, "older", "")
    if earlier == "current":
        kept = {"l0": {"content_hash": l0}, "l1": {"content_hash": l1}, "l2_cli": {"content_hash": l2}}
        account.stage().mkdir(parents=True)
        (account.stage() / "build_manifest.json").write_text(json.dumps({"schema": 1, **kept}))
    elif earlier == "damaged":
        account.stage().mkdir(parents=True)
        (account.stage() / "build_manifest.json").write_text('{"schema": 1, "l1": "x"}')
    image.build_images("p1")
    manifest = account.manifest()
    assert [manifest[key]["content_hash"] for key in ("l0", "l1", "l2_cli")] == ["older", "", l2]
    rendered = image.render_all_dockerfiles(load_project("p1"))
    assert image.stale_layers(load_project("p1"), rendered) == ["l0", "l1"]
    label = next(word for word in builds(podman)[-1] if word.startswith("terok.build_context_hash="))
    assert label.endswith(manifest["combined_hash"]) and manifest["combined_hash"] != hashes()[3]


# improves: 11-1.7-own-selection
def test_another_selection_in_the_configuration_is_noticed(account, podman) -> None:
    account.project()
    layers_say(account, *hashes()[:2])
    image.build_images("p1")
    account.project(image={"agents": "claude,gh"})
    assert image.stale_layers(load_project("p1"), image.render_all_dockerfiles(load_project("p1"))) == ["l1"]


def test_a_selection_for_one_build_is_current_until_the_configured_one_changes(account, podman) -> None:
    account.project()
    tag = "terok-l1-cli:debian-13-claude-gh"
    (podman.folder / "images").write_text(f"{L0}\n{tag}\n")
    image.build_images("p1", agents="gh,claude")
    assert f"BASE_IMAGE={tag}" in builds(podman)[-1]
    assert account.manifest()["selection"] == {"built": "gh,claude", "configured": "claude"}
    stage = (account.stage() / "L1.cli.Dockerfile").read_text()
    assert 'ai.terok.agents="claude,gh"' in stage
    assert image.render_all_dockerfiles(load_project("p1"))["L1.cli.Dockerfile"] == stage
    account.project(image={"agents": "codex"})
    assert 'ai.terok.agents="codex"' in image.render_all_dockerfiles(load_project("p1"))["L1.cli.Dockerfile"]
    with pytest.raises(SystemExit, match="Unknown roster entries: x"):
        image.build_images("p1", agents="x")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("echo no space left on device >&2; exit 1", "(?s)no space left.*hint: make room"),
        ("echo 'pinging container registry example.org: timeout' >&2; exit 125", "(?s)pinging container.*hint: check"),
        ("exit 3", "Image build failed"),
        ("kill -9 $$", "Image build failed"),
    ],
)
def test_a_failed_build_names_its_cause_and_leaves_the_record(account, podman, answer, words) -> None:
    account.project()
    image.build_images("p1")
    before = account.manifest()
    (podman.folder / "answer").write_text(answer)
    with pytest.raises(SystemExit, match=words):
        image.build_images("p1", refresh_agents=True)
    assert account.manifest() == before


def test_a_missing_podman_is_named(account, tmp_path, monkeypatch) -> None:
    account.project()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(SystemExit, match=r"(?s)podman not found.*hint: install podman"):
        image.build_images("p1")


def test_a_record_that_cannot_be_written_is_no_success(account, podman) -> None:
    account.project()
    (account.stage() / "build_manifest.json").mkdir(parents=True)
    with pytest.raises(SystemExit, match="the images are built, but"):
        image.build_images("p1")
    assert image.read_build_manifest("p1") is None


def test_unknown_projects_are_user_errors(account) -> None:
    for call in (image.build_images, image.generate_dockerfiles, image.build_context_hash):
        with pytest.raises(SystemExit):
            call("nobody")


def test_hashes_of_texts_at_hand(account) -> None:
    account.project()
    project = load_project("p1")
    rendered = image.render_all_dockerfiles(project)
    own = hashes()
    assert image.l0_content_hash("debian:13", rendered) == own[0] != image.l0_content_hash("debian:12", rendered)
    assert (image.l1_content_hash(rendered), image.l2_content_hash(rendered)) == own[1:3]
    assert image.build_context_hash_from_rendered(project, rendered) == image.build_context_hash("p1") == own[3]
    other = {**rendered, "L0.Dockerfile": "FROM x\n"}
    assert image.l1_content_hash(other) == own[1] and image.l0_content_hash("debian:13", other) != own[0]


def test_output_goes_to_the_stream_of_the_moment(account, podman, capfd) -> None:
    import contextlib
    import io

    account.project()
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        image.build_images("p1")
    assert "$ podman build" in shown.getvalue() and "==> p1:l2-cli" in shown.getvalue()
    assert capfd.readouterr().out == ""
