"""Names, recipes and builds through the Python surface. Podman is a stand-in that writes down how it was called."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest
from terok_executor.container import build
from terok_executor.container.build import BuildError, ImageBuilder, ImageSet

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fixtures" / "podman"))

from double import FakePodman, first_on_path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "images"


def table(name: str):
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


#: In the stand-in's folder, ``images`` lists what it has, ``labels`` what they say, ``answer`` what a build does.
PART = """
case "$1 $2" in
'image exists') for last; do :; done; grep -qx "$last" "$here/images" 2>/dev/null; exit $?;;
'image inspect') cat "$here/labels" 2>/dev/null;;
build*) echo built; [ -f "$here/answer" ] && . "$here/answer";;
esac
"""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePodman:
    """A stand-in for podman that has images and builds them."""
    return first_on_path(tmp_path / "bin", monkeypatch).plays(PART)


def calls(podman: FakePodman, verb: str) -> list[str]:
    return [" ".join(call) for call in podman.calls if call[0] == verb]


@pytest.mark.parametrize(("base", "tag"), table("tags")["base"])
def test_base_tags(base: str, tag: str) -> None:
    assert build.l0_image_tag(base) == f"terok-l0:{tag}"
    assert build.l1_sidecar_image_tag(base) == f"terok-l1-sidecar:{tag}"


@pytest.mark.parametrize(("base", "agents", "tag"), table("tags")["l1"])
def test_agent_tags(base: str, agents: list[str] | None, tag: str) -> None:
    given = None if agents is None else tuple(agents)
    assert build.l1_image_tag(base, given) == tag == ImageBuilder(base).l1_tag(given)


@pytest.mark.parametrize(("base", "given", "family"), table("families"))
def test_families(base: str, given: str | None, family: str) -> None:
    if family in ("deb", "rpm"):
        assert build.detect_family(base, given) == family == ImageBuilder.detect_family(base, given)
    else:
        with pytest.raises(BuildError) as caught:
            build.detect_family(base, given)
        assert caught.value.fault_code == family


@pytest.mark.parametrize(("selection", "resolved"), table("selections"))
def test_selections_agree_with_the_roster(selection: str, resolved: list[str] | str) -> None:
    from terok_executor.roster import AgentRoster

    parsed = AgentRoster.parse_selection(selection)
    if isinstance(resolved, str):
        with pytest.raises(ValueError, match=resolved):
            AgentRoster.shared().resolve_selection(parsed)
        with pytest.raises(ValueError, match=resolved):
            build.render_l1("terok-l0:x", family="deb", agents=parsed)
    else:
        assert list(AgentRoster.shared().resolve_selection(parsed)) == resolved
        text = build.render_l1("terok-l0:x", family="deb", agents=parsed)
        assert f'LABEL ai.terok.agents="{",".join(resolved)}"' in text


def test_value_types() -> None:
    images = ImageSet("a", "b")
    assert images == ImageSet(l0="a", l1="b", l1_sidecar=None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        images.l0 = "c"  # type: ignore[misc]
    assert ImageBuilder() == ImageBuilder("fedora:44", None)
    assert issubclass(BuildError, RuntimeError)


def test_text_selections_other_than_all_are_type_errors() -> None:
    with pytest.raises(TypeError, match="'all' or a tuple"):
        build.render_l1("terok-l0:x", family="deb", agents="claude")


def test_the_builder_finds_its_steps_at_call_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []
    monkeypatch.setattr(build, "build_base_images", lambda *a, **k: seen.append((a, k)) or ImageSet("0", "1"))
    monkeypatch.setattr(build, "build_sidecar_image", lambda *a, **k: seen.append((a, k)) or "s")
    assert ImageBuilder("debian:13").build_base(agents=("claude",)).l1 == "1"
    assert ImageBuilder("debian:13").build_sidecar() == "s"
    assert seen[0][0] == ("debian:13",) and seen[0][1]["agents"] == ("claude",)
    assert seen[1][1]["tool_name"] == "coderabbit"


def test_a_build_prints_its_command_on_sys_stdout(
    podman: FakePodman, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    build.build_project_image(
        dockerfile=tmp_path / "L2.Dockerfile",
        context_dir=tmp_path,
        target_tag="p:l2-cli",
        extra_tags=("a:1", "b:2"),
        build_args={"BASE_IMAGE": "x"},
        labels={"k": "v w"},
        no_cache=True,
        pull_always=True,
    )
    expected = (
        f"build -f {tmp_path}/L2.Dockerfile --pid=private --ipc=private --uts=private --cgroupns=private "
        f"--network=private --build-arg BASE_IMAGE=x --label k=v w -t p:l2-cli -t a:1 -t b:2 "
        f"--no-cache --pull=always {tmp_path}"
    )
    assert calls(podman, "build") == [expected]
    out = capsys.readouterr().out
    assert out.startswith(f"$ podman build -f {tmp_path}/L2.Dockerfile") and "--label 'k=v w'" in out
    assert "built" in out


def test_a_failed_build_and_a_missing_podman(
    podman: FakePodman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (podman.folder / "answer").write_text("echo no space left on device >&2; exit 1")
    arguments = {"dockerfile": tmp_path / "D", "context_dir": tmp_path, "target_tag": "x:1"}
    with pytest.raises(BuildError, match="Image build failed: no space left on device") as caught:
        build.build_project_image(**arguments)
    assert caught.value.fault_code == "no-space"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="podman not found"):
        build.build_project_image(**arguments)
    with pytest.raises(BuildError, match="podman not found"):
        build.build_base_images("debian:13", agents=("claude",))


def test_layers_and_the_default_alias(podman: FakePodman) -> None:
    alias = "terok-l1-cli:debian-13"
    assert ImageBuilder("debian:13").ensure_default_l1(("claude",)) == alias
    assert calls(podman, "build")[1].count(" -t ") == 2
    (podman.folder / "images").write_text(f"{alias}\nterok-l0:debian-13\n{alias}-claude\n")
    assert ImageBuilder("debian:13").ensure_default_l1(("claude",)) == alias
    images = build.build_base_images("debian:13", agents=("claude",), tag_as_default=True)
    assert images == ImageSet("terok-l0:debian-13", f"{alias}-claude")
    assert len(calls(podman, "build")) == 2
    assert calls(podman, "tag") == [f"tag {alias}-claude {alias}"]


def test_a_used_build_directory_is_a_value_error(podman: FakePodman, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    (tmp_path / "file").write_text("")
    for name in ("full", "file"):
        with pytest.raises(ValueError, match="build directory"):
            build.build_base_images("debian:13", agents=("claude",), build_dir=tmp_path / name)
    assert not calls(podman, "build")


def test_versions_from_the_environment(podman: FakePodman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEROK_IMAGE_VERSIONS", "claude-code=2.1.300, node=24.1.0")
    build.build_base_images("debian:13", agents=("claude",))
    assert "--build-arg CLAUDE_CODE_VERSION=2.1.300 --build-arg NODE_VERSION=24.1.0" in calls(podman, "build")[1]
    monkeypatch.setenv("TEROK_IMAGE_VERSIONS", "claude-code")
    with pytest.raises(BuildError, match="name=version"):
        build.build_base_images("debian:13", agents=("claude",))


def test_labels_of_an_image(podman: FakePodman) -> None:
    assert build.image_agents("x:1") == set()
    (podman.folder / "labels").write_text(
        json.dumps({"ai.terok.agents": "claude,,codex ", "ai.terok.versions": "a=1,b=2"})
    )
    assert build.image_agents("x:1") == {"claude", "codex"}
    assert build.image_versions("x:1") == {"a": "1", "b": "2"}
    (podman.folder / "labels").write_text("null")
    assert build.image_agents("x:1") == set()


def test_no_bundled_tool_can_be_installed_without_its_program(podman: FakePodman, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="coderabbit") as caught:
        build.build_sidecar_image("debian:13")
    assert caught.value.fault_code == "tool-unsupported"
    program = tmp_path / "coderabbit"
    program.write_text("#!/bin/sh\n")
    assert build.build_sidecar_image("debian:13", program=program) == "terok-l1-sidecar:debian-13"


def test_a_context_can_be_prepared_by_hand(tmp_path: Path) -> None:
    context = build.prepare_build_context(tmp_path / "c", base_image="debian:13", agents=("blablador",))
    assert (context / "L0.Dockerfile").read_text() == build.render_l0("debian:13")
    assert {"scripts", "tmux", "toad-agents", "help.d"} <= {p.name for p in context.iterdir()}
    assert "\033[36mopencode" in (context / "help.d" / "agents.txt").read_text(encoding="utf-8")
    assert not (context / "help.d" / "dev-tools.txt").exists()
    assert os.access(context / "scripts" / "ensure-bridges.sh", os.X_OK)


def test_importing_reads_nothing_and_loads_no_roster() -> None:
    import subprocess

    code = "import sys, terok_executor.container.build; print('terok_executor.roster' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
