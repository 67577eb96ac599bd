"""The verbs below ``terok-sandbox gate``."""

import pytest
from mirror_site import Project
from terok_sandbox import SandboxConfig
from terok_sandbox.cli import main
from terok_sandbox.commands import gate as verbs


@pytest.fixture
def cfg(project: Project) -> SandboxConfig:
    """A configuration whose mirrors are the project's."""
    return SandboxConfig(state_dir=project.base)


def test_path_is_printed_without_a_mirror(cfg: SandboxConfig, capsys: pytest.CaptureFixture[str]) -> None:
    verbs.handle_gate_path(project="proj", cfg=cfg)
    assert capsys.readouterr().out == f"file://{cfg.gate_base_path}/proj.git\n"


@pytest.mark.parametrize("project_name", ["", ".", "..", "a/b", "a\\b", "/a", "../x"])
def test_names_that_lead_elsewhere(cfg: SandboxConfig, project_name: str) -> None:
    with pytest.raises(SystemExit, match="not a project name"):
        verbs.handle_gate_path(project=project_name, cfg=cfg)


def test_a_followed_branch_can_be_brought_back(
    project: Project, cfg: SandboxConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    first = project.commit("one")
    second = project.commit("two")
    project.gate().sync()
    project.git(project.upstream, "update-ref", "refs/heads/main", first)
    project.gate().sync()
    assert project.tip("refs/heads/main") == second
    verbs.handle_gate_backups(project="proj", cfg=cfg)
    verbs.handle_gate_follow(project="proj", branches=["main"], cfg=cfg)
    assert project.tip("refs/heads/main") == first
    verbs.handle_gate_backups(project="proj", cfg=cfg)
    nothing, followed, listed = capsys.readouterr().out.splitlines()
    assert (nothing, followed) == ("nothing is kept", "as the upstream: main")
    assert listed.startswith(second[:12]) and listed.endswith("  main  two")
    verbs.handle_gate_restore(project="proj", branch="main", cfg=cfg)
    assert project.tip("refs/heads/restored/main") == second
    with pytest.raises(SystemExit, match="nothing that is kept"):
        verbs.handle_gate_restore(project="proj", branch="other", cfg=cfg)
    with pytest.raises(SystemExit, match="no mirror"):
        verbs.handle_gate_backups(project="none", cfg=cfg)


@pytest.mark.parametrize(
    "words", [["install"], ["uninstall"], ["start", "--port", "9418", "--daemon"], ["stop"], ["status"]]
)
def test_old_verbs_explain_themselves(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        main(["gate", *words])
    except SystemExit as ended:
        assert not ended.code
    assert "supervisor" in capsys.readouterr().out
