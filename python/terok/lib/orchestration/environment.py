"""Environment and mounts of a task's container: what the executor assembles, plus what the project adds.

Invariants: the host runs nothing in the workspace; a gatekeeping project never starts without its gate; every key of
the security class reaches the container, whatever it is called.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_util.shell import command_line

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_executor import AgentRoster
    from terok_executor.container.context import GateGrant, LaunchContext
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.sandbox import VolumeSpec

    from terok.lib.core.project_model import ProjectConfig

WORKSPACE_DANGEROUS_DIRNAME = "workspace-dangerous"
_CONTAINER_GATE_PORT = 9418
_CONTAINER_RUNTIME_DIR = "/run/terok"
_AGENT_NAME, _AGENT_EMAIL = "AI Agent", "ai-agent@localhost"
#: Who is author and who committer, by authorship; the first is also what an unknown word means.
_AUTHORSHIP = {
    "agent-human": ("agent", "human"),
    "human-agent": ("human", "agent"),
    "agent": ("agent", "agent"),
    "human": ("human", "human"),
}
#: Keys of the security class that the executor sets itself from its own fields.
_ASSEMBLED = frozenset({"CODE_REPO", "CLONE_FROM", "GIT_BRANCH"})
_CLAUDE_TOKEN = "CLAUDE_CODE_OAUTH_TOKEN"  # noqa: S105 - the name of a variable
_CLAUDE_ADDRESSES = ("ANTHROPIC_BASE_URL", "ANTHROPIC_UNIX_SOCKET")


@dataclass(frozen=True)
class TaskEnvironment:
    """Environment and volumes of a task's container, and the context that its launch takes."""

    env: dict[str, str]
    volumes: list[VolumeSpec]
    context: LaunchContext


def build_task_env_and_volumes(project: ProjectConfig, task_id: str) -> tuple[dict, list[VolumeSpec]]:
    """Return environment and volumes alone; see :func:`assemble_task`."""
    assembled = assemble_task(project, task_id)
    return assembled.env, assembled.volumes


def assemble_task(project: ProjectConfig, task_id: str) -> TaskEnvironment:
    """Return what the task's container gets; makes its workspace and mints its tokens.

    The agent configuration directory is not among the volumes; the launch adds it.

    Raises:
        SystemExit: the gate is missing or outside its directory, no credential is stored in the project's own set,
            the vault does not open, or a shared directory is not plain.
        ConfigPatchError: a shared settings file cannot be changed.
    """
    from terok_native import _lib

    from terok.lib.core import config
    from terok.lib.integrations import executor

    task_dir = Path(project.tasks_root) / task_id
    workspace = task_dir / WORKSPACE_DANGEROUS_DIRNAME
    _lib.task_prepare(task_dir)
    security, extra = _security_mode_env_and_volumes(
        project, config.make_sandbox_config(), use_socket=config.get_services_mode() == "socket"
    )
    _seed_workspace_cache(workspace, project.id, security.get("CODE_REPO"))
    bypass = config.get_vault_bypass()
    if not bypass:
        _check_project_credentials_present(project)
    roster = executor.AgentRoster.shared()
    spec = _spec(project, task_id, workspace, security, roster, bypass)
    assembled = executor.assemble_container_env(spec, roster, caller_manages_vault=bypass)
    env = dict(assembled.env)
    env["PROJECT_ID"] = project.id
    env["GIT_RESET_MODE"] = os.environ.get("TEROK_GIT_RESET_MODE") or "none"
    env |= {key: value for key, value in security.items() if key not in _ASSEMBLED}
    if not bypass:
        _apply_claude_oauth_overrides(env)
        _warn_leaked_credentials(project_mounts_dir(project))
    return TaskEnvironment(env, [*assembled.volumes, *extra], assembled.context)


def _spec(
    project: ProjectConfig, task_id: str, workspace: Path, security: dict[str, str], roster: AgentRoster, bypass: bool,
) -> Any:  # fmt: skip
    from terok.lib.core import config, images
    from terok.lib.integrations import executor

    enabled, disabled = _vault_patch_provider_sets(roster, vault_bypass=bypass)
    human = (project.human_name or "Nobody", project.human_email or "nobody@localhost")
    identity = resolve_git_identity(_AGENT_NAME, _AGENT_EMAIL, *human, project.git_authorship)
    return executor.ContainerEnvSpec(
        task_id=task_id,
        provider_name=project.default_agent or "claude",
        workspace_host_path=workspace,
        code_repo=security.get("CODE_REPO"),
        clone_from=security.get("CLONE_FROM"),
        gate=_gate_grant(project, security),
        branch=security.get("GIT_BRANCH"),
        **{key.lower(): value for key, value in identity.items()},
        authorship=project.git_authorship,
        human_name=human[0],
        human_email=human[1],
        credential_scope=project.id,
        credential_set=project.credential_set,
        vault_transport=config.get_vault_transport(),
        vault_required=not bypass,
        enabled_vault_patch_providers=enabled,
        disabled_vault_patch_providers=disabled,
        expose_credential_providers=config.exposed_credential_providers(),
        unrestricted=False,
        timezone=project.timezone,
        shared_dir=None if project.is_sealed else project.shared_dir,
        task_dir=Path(project.tasks_root) / task_id,
        envs_dir=project_mounts_dir(project),
        # Only what the image holds is mounted; an image that does not say gets everything.
        installed=images.installed_agents(images.project_cli_image(project.id)) or None,
    )


def _gate_grant(project: ProjectConfig, security: dict[str, str]) -> GateGrant | None:
    from terok_executor.container.context import GateGrant

    token = security.get("TEROK_GATE_TOKEN")
    return GateGrant(Path(project.gate_path).name.removesuffix(".git"), token) if token else None


def project_mounts_dir(project: ProjectConfig) -> Path:
    """Return the base of the agents' shared directories: the project's own, or the one of all projects."""
    from terok.lib.core import config

    if project.credentials_scope == "project":
        return project.project_mounts_dir
    return config.sandbox_live_mounts_dir()


# -- git ---------------------------------------------------------------------------------------------------------------


def resolve_git_identity(
    agent_name: str, agent_email: str, human_name: str, human_email: str, authorship: str = "agent-human"
) -> dict[str, str]:
    """Return ``GIT_AUTHOR_NAME``, ``GIT_AUTHOR_EMAIL``, ``GIT_COMMITTER_NAME`` and ``GIT_COMMITTER_EMAIL``."""
    people = {"agent": (agent_name, agent_email), "human": (human_name, human_email)}
    author, committer = _AUTHORSHIP.get(authorship, _AUTHORSHIP["agent-human"])
    return {
        "GIT_AUTHOR_NAME": people[author][0],
        "GIT_AUTHOR_EMAIL": people[author][1],
        "GIT_COMMITTER_NAME": people[committer][0],
        "GIT_COMMITTER_EMAIL": people[committer][1],
    }


def apply_git_identity_env(
    env: dict[str, str], project: ProjectConfig, agent_name: str = _AGENT_NAME, agent_email: str = _AGENT_EMAIL
) -> None:
    """Set the four git variables in *env* for an agent that works on *project*."""
    human = (project.human_name or "Nobody", project.human_email or "nobody@localhost")
    env.update(resolve_git_identity(agent_name, agent_email, *human, project.git_authorship))


def _security_mode_env_and_volumes(
    project: ProjectConfig, cfg: SandboxConfig, *, use_socket: bool = False
) -> tuple[dict[str, str], list[VolumeSpec]]:
    """What the security class asks for; today no class has volumes of its own."""
    base = Path(cfg.gate_base_path)
    gatekeeping = project.security_class == "gatekeeping"
    env = (_gatekeeping_repo_env if gatekeeping else _online_repo_env)(project, base, _CONTAINER_GATE_PORT)
    if use_socket and "TEROK_GATE_TOKEN" in env:
        env["TEROK_GATE_SOCKET"] = f"{_CONTAINER_RUNTIME_DIR}/gate-server.sock"
    return env, []


def _gatekeeping_repo_env(project: ProjectConfig, gate_base: Path, gate_port: int) -> dict[str, str]:
    """The gate is the only repository that the container knows."""
    if not project.gate_path.is_dir():
        raise SystemExit(
            f"cannot start a task of `{project.id}`: its git gate `{project.gate_path}` does not exist\n"
            f"hint: create it with `{command_line('terok', 'project', 'gate-sync', project.id)}`"
        )
    token, url = _minted(project, gate_base, gate_port)
    shown = project.upstream_url if project.expose_external_remote else None
    found = {"CODE_REPO": url, "TEROK_GATE_TOKEN": token}
    found |= {"GIT_BRANCH": project.default_branch or "", "EXTERNAL_REMOTE_URL": shown or ""}
    return {key: value for key, value in found.items() if value}


def _online_repo_env(project: ProjectConfig, gate_base: Path, gate_port: int) -> dict[str, str]:
    """The upstream is the repository; a gate that exists speeds up the clone and takes pushes too."""
    upstream = {"CODE_REPO": project.upstream_url or "", "GIT_BRANCH": project.default_branch or ""}
    env = {key: value for key, value in upstream.items() if value} if project.upstream_url else {}
    if project.gate_enabled and project.gate_path.is_dir():
        token, url = _minted(project, gate_base, gate_port)
        env |= {"CLONE_FROM": url, "GATE_REMOTE_URL": url, "TEROK_GATE_TOKEN": token}
        # Without an upstream the gate is all there is; the container would clone nothing otherwise.
        env.setdefault("CODE_REPO", url)
    return env


def _minted(project: ProjectConfig, gate_base: Path, gate_port: int) -> tuple[str, str]:
    from terok.lib.integrations import sandbox

    token = sandbox.mint_gate_token()
    return token, _gate_url(project.gate_path, gate_base, gate_port, token)


def _gate_url(gate_repo: Path, gate_base: Path, port: int, token: str) -> str:
    """The container's address of the gate; only a repository right below the gate directory is served."""
    if Path(gate_repo).parent.resolve() != Path(gate_base).resolve():
        raise SystemExit(
            f"cannot serve the git gate `{gate_repo}`: it does not lie directly in the gate directory `{gate_base}`\n"
            "hint: move it there, or remove `gate.path` from project.yml"
        )
    return f"http://{token}@localhost:{port}/{Path(gate_repo).name}"


def _seed_workspace_cache(repo_dir: Path, project_id: str, code_repo: str | None) -> None:
    """Give a fresh workspace a head start from the clone cache; whatever goes wrong, the container clones."""
    from terok.lib.integrations import executor
    from terok.lib.util.logging_utils import _log_debug

    if not (repo_dir / ".new-task-marker").exists() or (repo_dir / ".git").exists():
        return
    try:
        executor.seed_workspace_from_clone_cache(repo_dir, project_id, origin_url=code_repo)
    except Exception as error:
        _log_debug(f"the workspace of project {project_id} could not be filled from its clone cache: {error}")


# -- credentials -------------------------------------------------------------------------------------------------------


def _check_project_credentials_present(project: ProjectConfig) -> None:
    """Refuse a project with a credential set of its own that holds nothing; its agents could not do anything."""
    if project.credentials_scope != "project":
        return
    from terok.lib.integrations import executor

    if not executor.list_authenticated_agents(scope=project.credential_set):
        raise SystemExit(
            f"cannot start a task of `{project.id}`: it keeps its own credentials, and no agent has one there\n"
            f"hint: store one with `{command_line('terok', 'auth', 'AGENT', '--project', project.id)}`"
        )


def _shared_config_patch_providers(roster: AgentRoster) -> frozenset[str]:
    return frozenset(name for name, route in roster.vault_routes.items() if route.shared_config_patch)


def _vault_patch_provider_sets(
    roster: AgentRoster, *, vault_bypass: bool = False
) -> tuple[frozenset[str], frozenset[str]]:
    """Whose shared settings are to lead to the vault, and whose are to be left to the user."""
    from terok.lib.core import config

    every = _shared_config_patch_providers(roster)
    if vault_bypass:
        return frozenset(), every
    left = frozenset() if config.is_codex_oauth_proxied() else every & {"codex"}
    return every - left, left


def _apply_claude_oauth_overrides(env: dict[str, str]) -> None:
    """Take Claude's login token back: it works by the marker file of the shared directory, or not at all."""
    from terok.lib.core import config

    if _CLAUDE_TOKEN not in env:
        return
    del env[_CLAUDE_TOKEN]
    if not config.is_claude_oauth_proxied():
        for name in _CLAUDE_ADDRESSES:
            env.pop(name, None)


def _warn_leaked_credentials(mounts_dir: Path) -> None:
    """Say which providers have a real credential in the shared directories; paths go to the log alone."""
    from terok.lib.core import config
    from terok.lib.integrations import executor
    from terok.lib.util.logging_utils import _log_debug, warn_user

    exposed = config.exposed_credential_providers()
    for provider, path in executor.scan_leaked_credentials(Path(mounts_dir)):
        _log_debug(f"real credential of {provider} in {path}")
        if provider in exposed:
            rule = "!" * 72
            print(
                f"{rule}\n!!  EXPOSED: the real credential of {provider} is readable in every task.\n{rule}",
                file=sys.stderr,
                flush=True,
            )
        else:
            warn_user("vault", f"a real credential of {provider} lies in the directories that tasks share")
