"""Tool mode: a container with one tool and no agent beside it, so the tool may hold its real credential."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.shell import command_line

from terok_executor.container import plan as planning

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.launch import PerContainerResources
    from terok_sandbox.sandbox import VolumeSpec


def environment(
    plan: planning.RunPlan, workspace: Path, branch: str | None, timezone: str | None
) -> tuple[dict[str, str], list[VolumeSpec]]:
    """Variables and mounts of the container, the credential not among them."""
    from terok_sandbox.sandbox import Sharing, VolumeSpec

    env = {"TASK_ID": plan.subject, "REPO_ROOT": "/workspace", "GIT_RESET_MODE": "none"}
    env |= planning.truthy(TZ=timezone, GIT_BRANCH=branch, CODE_REPO=plan.code_repo) | plan.gate_env()
    return env, [VolumeSpec(workspace, "/workspace", sharing=Sharing.PRIVATE)]


def credentials(cfg: SandboxConfig, tool: str, env_map: Mapping[str, str]) -> dict[str, str]:
    """The tool's real credential as environment variables.

    *env_map* names the member of the stored record that each variable gets.

    Raises:
        SystemExit: the tool needs a credential and none is stored.
    """
    if not env_map:
        return {}
    db = cfg.open_credential_db()
    try:
        record = db.load_credential("default", tool) or {}
    finally:
        db.close()
    found = {name: str(record[key]) for name, key in env_map.items() if record.get(key)}
    if not found:
        raise SystemExit(
            f"cannot run `{tool}`: no credential is stored for it\n"
            f"hint: store one with `{command_line('terok-executor', 'auth', tool, '--api-key', '-')}`"
        )
    return found


def hand_over(resources: PerContainerResources, secrets: Mapping[str, str]) -> str:
    """Hand *secrets* to the container; return the shell text that exports them, empty without any.

    Podman stores a container's environment on disk until the container is removed, so the secrets are not part of it.
    """
    from terok_native import _lib

    return _lib.sandbox_hand_over(resources.container_runtime_dir, dict(secrets)) if secrets else ""
