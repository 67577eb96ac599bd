"""ACP launchers: what the adapter is started with, and under whose name its commits appear."""

from __future__ import annotations

import json

import pytest
from container_box import FIXTURES

CASES = json.loads((FIXTURES / "acp_launchers.json").read_text())
SHOW = """#!/usr/bin/env python3
import json, os, sys
keys = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "COPILOT_CUSTOM_INSTRUCTIONS_DIRS", "VIBE_SYSTEM_PROMPT_ID"]
print(json.dumps({"argv": sys.argv[1:], **{k: os.environ[k] for k in keys if k in os.environ}}))
sys.exit(9)
"""
ENV = {"BASH_ENV": "/etc/profile.d/terok-env.sh", "TASK_ID": "t1"}


@pytest.fixture
def acp_box(box):
    (box.base / "home/dev/.terok").mkdir()
    (box.base / "home/dev/.terok/instructions.md").write_text("be kind\nand brief\n")
    return box


@pytest.mark.parametrize("unrestricted", [False, True], ids=["restricted", "unrestricted"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["launcher"])
def test_arguments_identity_and_status(acp_box, case, unrestricted):
    acp_box.program(case["adapter"], SHOW)
    env = {"TEROK_UNRESTRICTED": "1"} if unrestricted else {}
    result = acp_box.run(case["launcher"], "--own", "a b", **ENV, **env)
    assert result.status == 9, result.err
    seen = json.loads(result.out)
    assert seen["argv"] == [*(case["unrestricted"] if unrestricted else []), *case["argv"], "--own", "a b"]
    assert f"{seen['GIT_AUTHOR_NAME']} <{seen['GIT_AUTHOR_EMAIL']}>" == case["author"]
    assert {k: v for k, v in seen.items() if not k.startswith("GIT_") and k != "argv"} == case["env"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["launcher"])
def test_without_instructions(box, case):
    box.program(case["adapter"], SHOW)
    argv = json.loads(box.run(case["launcher"], **ENV).out)["argv"]
    assert not any("instructions" in word or "be kind" in word for word in argv)


def test_copilot_reads_a_copy(acp_box):
    acp_box.program("copilot", SHOW)
    acp_box.run("terok-copilot-acp", **ENV)
    copy = acp_box.base / "home/dev/.terok/copilot-instructions/terok.instructions.md"
    assert copy.read_text() == "be kind\nand brief\n"


def test_vibe_sees_its_prompt_and_trust_and_leaves_no_prompt_behind(acp_box):
    acp_box.program("vibe-acp", "#!/bin/sh\ncat ~/.vibe/prompts/terok-task-t1.md ~/.vibe/trusted_folders.toml; cat\nexit 3\n")
    result = acp_box.run("terok-vibe-acp", stdin="from the client\n", **ENV)
    assert result.status == 3
    assert result.out.startswith("be kind") and '"/workspace"' in result.out and result.out.endswith("from the client\n")
    assert list((acp_box.base / "home/dev/.vibe/prompts").iterdir()) == []


def test_vibe_passes_signals_on_and_reports_the_adapters_own_status(acp_box):
    acp_box.program("vibe-acp", "#!/bin/bash\ntrap 'echo got; exit 4' TERM\necho up; while :; do sleep 0.1; done\n")
    script = """
        terok-vibe-acp >/srv/out & p=$!; until grep -qs up /srv/out; do sleep 0.05; done
        kill -TERM $p; wait $p; status=$?; cat /srv/out; echo $status; ls ~/.vibe/prompts
    """
    assert acp_box.bash(script, **ENV).out == "up\ngot\n4\n"


@pytest.mark.parametrize("task", ["../../evil", ""])
def test_vibe_refuses_a_task_id_that_is_no_file_name(acp_box, task):
    acp_box.program("vibe-acp", SHOW)
    result = acp_box.run("terok-vibe-acp", **{**ENV, "TASK_ID": task})
    assert result.status == 9 and "VIBE_SYSTEM_PROMPT_ID" not in result.out


def test_launcher_without_the_identity_file_still_starts(acp_box):
    (acp_box.base / "share/terok/terok-env-git-identity.sh").unlink()
    acp_box.program("claude-agent-acp", SHOW)
    assert acp_box.run("terok-claude-acp").status == 9


def test_environment_file_wants_a_name(box):
    result = box.bash("source /usr/local/share/terok/terok-acp-env.sh; echo not reached")
    assert result.status != 0 and result.out == "" and "TEROK_AGENT_NAME" in result.err
