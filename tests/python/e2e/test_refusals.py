"""Wrong arguments: one clear message with the cause and the next step, nothing started, nothing left."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from e2e_site import Site


def refused(site: Site, *arguments: str) -> str:
    """What a refused run says; it must fail without a traceback and leave nothing."""
    with site.leaves_nothing():
        done = site.cli("run", "--base", site.base, *arguments)
    assert done.returncode not in (0, None), done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_unknown_agent_lists_the_known_ones(site: Site) -> None:
    said = refused(site, "clod", str(site.repository()), "-p", "x")
    assert "'clod'" in said and "claude" in said and "codex" in said


@pytest.mark.parametrize("repo", ["missing", "a-file", "-x", "ext::sh -c true", "unreadable"])
def test_repository_that_is_none(site: Site, folder: Path, monkeypatch, repo: str) -> None:
    monkeypatch.chdir(folder)
    (folder / "a-file").write_text("")
    (folder / "unreadable").mkdir(mode=0)
    words = ["claude", "-p", "x", "--", repo] if repo == "-x" else ["claude", repo, "-p", "x"]
    said = refused(site, *words)
    assert repo in said
    if repo == "a-file":
        assert "there is a file" in said
    (folder / "unreadable").chmod(stat.S_IRWXU)


@pytest.mark.parametrize("name", ["a/b", "..", "two words", "n" * 200, "-f"])
def test_bad_container_name(site: Site, name: str) -> None:
    said = refused(site, "claude", str(site.repository()), "-p", "x", f"--name={name}")
    assert "container name" in said


def test_name_in_use(site: Site) -> None:
    name = site.name()
    site.podman("run", "-d", "--name", name, "--network", "none", site.image, "sleep", "60")
    said = refused(site, "claude", str(site.repository()), "-p", "x", "--name", name)
    assert (
        "name is already in use" in said
        and f"hint: choose another name, or remove the container with `podman rm -f {name}`" in said
    )
    assert site.state_of(name) == "running"


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--memory", "lots", "memory `lots`"),
        ("--memory", "-1g", "memory `-1g`"),
        ("--memory", "4g,--privileged", "memory"),
        ("--cpus", "many", "cpus `many`"),
        ("--cpus", "-1", "cpus `-1`"),
        ("--timeout", "0", "timeout"),
        ("--max-turns", "-3", "max_turns"),
        ("--shared-mount", "relative", "absolute path"),
    ],
)
def test_nonsense_amounts(site: Site, folder: Path, option: str, value: str, named: str) -> None:
    extra = ("--shared-dir", str(folder)) if option == "--shared-mount" else ()
    assert named in refused(site, "claude", str(site.repository()), "-p", "x", f"{option}={value}", *extra)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"env": {"A": "x\0y"}}, "`A`"),
        ({"env": {"A\nB": "x"}}, "environment variable"),
        ({"env": {"A=B": "x"}}, "environment variable"),
        ({"annotations": {"dossier.meta_path": "/x\n/y"}}, "dossier.meta_path"),
        ({"annotations": {"dossier.meta_path": "/x\0/y"}}, "dossier.meta_path"),
        ({"annotations": {"dossier.meta_path": "/x,run.oci.hooks=1"}}, "comma"),
        ({"annotations": {"run.oci.handler": "x"}}, "run.oci.handler"),
        ({"command": ["echo", "a\0b"]}, "NUL"),
        ({"image": "--privileged"}, "--privileged"),
        ({"extra_args": ["--privileged"]}, "--privileged"),
    ],
)
def test_prepared_launch_checks_every_word(site: Site, folder: Path, fields: dict[str, Any], named: str) -> None:
    base: dict[str, Any] = {"env": {}, "volumes": [], "image": site.image, "command": ["true"], "task_dir": folder}
    with site.leaves_nothing(), pytest.raises((ValueError, SystemExit)) as caught:
        site.runner().launch_prepared(**{**base, **fields}, name=site.name())
    assert named in str(caught.value), caught.value


def test_newlines_in_values_arrive_as_they_are(site: Site, folder: Path) -> None:
    runner, name = site.runner(), site.name()
    command = ["bash", "-c", 'printf "%s|%s" "$A" "$API_TOKEN"']
    runner.launch_prepared(
        env={"A": "one\ntwo, three", "API_TOKEN": "s\ncret"}, volumes=[], image=site.image, command=command, name=name,
        task_dir=folder,
    )  # fmt: skip
    assert runner.wait_for_exit(name, timeout=120) == 0
    assert runner.logs(name) == "one\ntwo, three|s\ncret"


def test_agent_that_the_image_does_not_hold(site: Site) -> None:
    said = refused(site, "copilot", str(site.repository()), "-p", "x")
    assert "`copilot`" in said and "terok-executor build" in said


def test_broken_user_agent_leaves_the_others(site: Site) -> None:
    broken = site.home / ".config/terok/agent/agents/mine.yaml"
    broken.write_text("roster_version: 1\nkind: [\n")
    try:
        done = site.cli("agents", "list")
    finally:
        broken.unlink()
    assert done.returncode == 0 and "claude" in done.stdout and "mine.yaml" in done.stderr
