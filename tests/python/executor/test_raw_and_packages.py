"""Without configuration (`--raw`), and without an image registry (`build --from-packages`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from terok_executor import cli, commands, config
from terok_executor.container import build


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The one configuration file that is read."""
    path = tmp_path / "config.yml"
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(path))
    return path


def executor(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    settings = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TEROK_ROOT": str(home / "root")}
    argv = [sys.executable, "-m", "terok_executor.cli", *words]
    return subprocess.run(argv, capture_output=True, text=True, env=settings, timeout=60)


def test_raw_is_silent_and_means_no_configuration(tmp_path: Path) -> None:
    (tmp_path / ".config/terok").mkdir(parents=True)
    (tmp_path / ".config/terok/config.yml").write_text("services: [broken\n")
    done = executor("--raw", "show-config", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "services_mode: socket" in done.stdout


def test_raw_has_no_file_to_write(tmp_path: Path) -> None:
    done = executor("--raw", "agents", "set", "claude", home=tmp_path)
    assert done.returncode == 1 and "/dev/null" in done.stderr and "not a regular file" in done.stderr
    assert done.stdout == "" and Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("text", "trust"),
    [("", "auto"), ("auto", "auto"), ("never", "never"), ("false", "never"), ("always", "always"), ("true", "always")],
)
def test_trust_setting(settings: Path, text: str, trust: str) -> None:
    if text:
        settings.write_text(f"image:\n  trust_host_ca: {text}\n  agents: claude\n")
    assert config.image_trust_host_ca() == build._trust("auto") == trust
    assert (build._trust(True), build._trust("never"), build._trust(False)) == ("always", "never", "never")
    assert config.image_agents() == ("claude" if text else None), "the section stays usable"


def test_an_unknown_trust_setting_is_not_guessed(settings: Path) -> None:
    settings.write_text("image: {trust_host_ca: maybe}\n")
    with pytest.raises(ValueError, match="auto, always, never"):
        build._trust("auto")


def test_trust_reaches_the_builds(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text("image: {trust_host_ca: never}\n")
    seen: list[dict[str, Any]] = []

    class Native:
        def images_build_base(self, request: dict[str, Any], *_: object) -> dict[str, str]:
            seen.append(request)
            return {"l0": "a", "l1": "b"}

        def images_build_sidecar(self, request: dict[str, Any], *_: object) -> str:
            seen.append(request)
            return "c"

    monkeypatch.setattr(build, "_lib", Native())
    build.build_base_images("debian:13")
    build.build_sidecar_image("debian:13")
    assert [request["trust_host_ca"] for request in seen] == ["never", "never"]


def test_a_build_from_packages(
    settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[str] = []
    monkeypatch.setattr(build, "make_base_image", lambda: build.BOOTSTRAP_IMAGE)
    monkeypatch.setattr(build, "build_base_images", lambda base, **_: built.append(base) or build.ImageSet("l0", "l1"))
    cli.main(["build", "--from-packages", "--agents", "claude"])
    assert built == [build.BOOTSTRAP_IMAGE]
    assert f"--base {build.BOOTSTRAP_IMAGE}" in capsys.readouterr().out
    settings.write_text(f"image: {{base_image: '{build.BOOTSTRAP_IMAGE}'}}\n")
    cli.main(["build", "--from-packages", "--agents", "claude"])
    assert "--base" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match="leave one out"):
        cli.main(["build", "--from-packages", "--base", "ubuntu:24.04"])
    assert len(built) == 2


def test_the_flag_belongs_to_the_command_line_alone() -> None:
    assert all(argument.name != "--from-packages" for argument in commands.BUILD_COMMAND.args)


def test_an_unreachable_registry_names_the_way_out(
    settings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    podman = tmp_path / "podman"
    complaint = "Error: initializing source docker://registry.invalid/x: pinging container registry: no such host"
    podman.write_text(f'#!/bin/sh\n[ "$1" = build ] || exit 1\necho "{complaint}" >&2\nexit 125\n')
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(build.BuildError, match="build --from-packages"):
        build.build_base_images("registry.invalid/debian:13", family="deb", agents=("claude",))
