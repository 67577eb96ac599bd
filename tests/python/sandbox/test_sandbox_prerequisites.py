"""What set-up says about the host: podman's age, subordinate ids, variables that hide the hooks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from double import FakePodman
from terok_executor.preflight import Preflight
from terok_sandbox import advisories, doctor, prerequisites
from terok_sandbox.commands import setup


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /etc, a user named ann, and the programs of the package uidmap."""
    folder = tmp_path / "etc"
    programs = tmp_path / "bin"
    for made in (folder, programs):
        made.mkdir()
    for name in ("newuidmap", "newgidmap"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(prerequisites, "_ETC", folder)
    monkeypatch.setattr(prerequisites, "_user", lambda: "ann")
    monkeypatch.setenv("PATH", str(programs))
    return folder


@pytest.mark.parametrize(
    ("says", "severity", "words"),
    [
        ("echo podman version 4.3.1", "ok", "4.3.1"),
        ("echo podman version 5.10.0-rc1", "ok", "5.10.0"),
        ("echo podman version 4.2.9", "fail", "too old: 4.3"),
        ("echo podman version 3.4.4", "fail", "3.4.4 at"),
        ("echo 'cannot map ids' >&2; exit 125", "fail", "cannot map ids"),
        ("echo what", "fail", "what"),
    ],
)
def test_podman(podman: FakePodman, says: str, severity: str, words: str) -> None:
    podman.plays(says)
    found = prerequisites.check_podman()
    assert found[0] == severity and words in found[1]


@pytest.mark.parametrize(
    ("version", "has", "has_not"),
    [
        ("4.3.1", ["CVE-2026-94603", "CVE-2025-9566", "CVE-2024-1753"], []),
        ("4.9.5", ["CVE-2026-94603", "CVE-2025-9566"], ["CVE-2024-1753"]),
        ("5.0.0", ["CVE-2024-1753"], []),
        ("5.6.1", ["CVE-2026-123876", "CVE-2025-11395"], ["CVE-2025-9566"]),
        ("5.8.10", ["CVE-2026-94603"], ["CVE-2026-111361", "CVE-2026-123876", "CVE-2026-121885"]),
        ("6.1.3", ["CVE-2026-111361"], ["CVE-2026-94603", "CVE-2025-11395"]),
    ],
)
def test_versions_with_known_holes_are_named(podman: FakePodman, version: str, has: list[str], has_not: list[str]) -> None:
    podman.plays(f"echo podman version {version}")
    severity, text = prerequisites.check_advisories()
    assert severity == "warn" and f"podman {version} has" in text and "changelog" in text
    assert all(name in text for name in has) and not any(name in text for name in has_not)
    verdict = doctor.run_check(doctor.podman_advisories_check())
    assert verdict.severity == "warn" and has[0] in verdict.detail


def test_a_version_without_known_holes(podman: FakePodman) -> None:
    podman.plays("echo podman version 6.2.0")
    assert prerequisites.check_advisories() == ("ok", "no known holes in podman 6.2.0")
    podman.plays("exit 1")
    assert prerequisites.check_advisories()[0] == "warn"
    assert [label for label, _ in prerequisites.checks()][:3] == ["podman", "podman's holes", "git"]


def test_the_table_of_advisories_is_well_formed() -> None:
    for advisory in advisories.table():
        assert advisory.id.startswith("CVE-") and advisory.fixed and advisory.what and advisory.ours
        newest = tuple(int(number) for number in advisory.fixed[-1].split("."))
        assert not advisory.affects(newest) and advisory.affects((4, 0, 0))


def test_podman_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prerequisites.check_podman()[0] == prerequisites.check_git()[0] == "missing"


def test_runs_refuse_an_old_podman(podman: FakePodman) -> None:
    podman.plays("echo 4.2.0")
    result = Preflight(provider="").check_podman()
    assert not result.ok and "too old" in result.message
    podman.plays("echo 4.3.1")
    assert Preflight(provider="").check_podman().ok


def test_ids_are_there(etc: Path) -> None:
    (etc / "subuid").write_text("# mine\nann:100000:65536\n")
    (etc / "subgid").write_text(f"{os.geteuid()}:100000:65536\n")
    assert prerequisites.check_subordinate_ids() == ("ok", "65536 for ann")


def test_missing_ids_name_the_line_to_type(etc: Path) -> None:
    (etc / "subuid").write_text("bob:100000:65536\nnonsense\nann:1:10\n")
    (etc / "subgid").write_text("bob:165536:65536\nann:300000:65536\n")
    severity, text = prerequisites.check_subordinate_ids()
    assert severity == "fail" and "/etc/subuid" in text and "/etc/subgid" not in text
    assert text.splitlines()[1] == "sudo usermod --add-subuids 365536-431071 ann && podman system migrate"
    for name in ("subuid", "subgid"):
        (etc / name).unlink()
    severity, text = prerequisites.check_subordinate_ids()
    wanted = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann && podman system migrate"
    assert (severity, text.splitlines()[1]) == ("fail", wanted)


def test_ids_of_a_name_service_count(etc: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin/getsubids"
    program.write_text('#!/bin/sh\necho "0: ann 200000 65536"\n')
    program.chmod(0o755)
    assert prerequisites.check_subordinate_ids()[0] == "ok"
    program.write_text("#!/bin/sh\necho 'Error fetching ranges' >&2\nexit 1\n")
    assert prerequisites.check_subordinate_ids()[0] == "fail"


def test_programs_that_hand_out_ids(etc: Path, tmp_path: Path) -> None:
    (tmp_path / "bin/newgidmap").unlink()
    severity, text = prerequisites.check_subordinate_ids()
    assert severity == "missing" and "newgidmap" in text and "newuidmap" not in text and "uidmap" in text


def test_the_report(
    podman: FakePodman, etc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{podman.folder}:{etc.parent}/bin:/usr/bin:/bin")
    podman.plays("echo podman version 4.1.0")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.delenv("CONTAINERS_CONF_OVERRIDE", raising=False)
    setup._report_prerequisites()
    shown = capsys.readouterr().out
    assert "too old" in shown and "usermod" in shown and "environment" not in shown
    monkeypatch.setenv("CONTAINERS_CONF", "/x/other.conf")
    setup._report_prerequisites()
    assert "CONTAINERS_CONF=/x/other.conf" in capsys.readouterr().out
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "subordinate ids" not in [label for label, _ in prerequisites.checks()]
