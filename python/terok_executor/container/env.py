"""Environment and volumes of an agent's container."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from terok_executor.container.context import GateGrant, LaunchContext, TokenBinding

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.launch import PerContainerResources
    from terok_sandbox.sandbox import VolumeSpec

    from terok_executor.roster import AgentRoster

_log = logging.getLogger(__name__)
#: Directory of the private copies, in the task's.
HOME_DIR = "agent-home"


@dataclass(frozen=True)
class ContainerEnvSpec:
    """What to assemble. ``installed`` names the entries in the image; ``None`` or empty means unknown: mount all.

    ``gate`` is the container's access to the git gate; ``code_repo`` or ``clone_from`` then hold its address.
    ``home_dir`` is where the task's private copies of the shared directories are kept; default: ``agent-home`` in
    ``task_dir``.
    """

    task_id: str
    provider_name: str
    workspace_host_path: Path
    code_repo: str | None = None
    clone_from: str | None = None
    branch: str | None = None
    git_author_name: str | None = None
    git_author_email: str | None = None
    git_committer_name: str | None = None
    git_committer_email: str | None = None
    authorship: str = "agent"
    human_name: str = "Nobody"
    human_email: str = "nobody@localhost"
    credential_scope: str = "standalone"
    credential_set: str = "default"
    vault_transport: Literal["direct", "socket"] = "direct"
    vault_required: bool = False
    scan_leaked_creds: bool = False
    enabled_vault_patch_providers: frozenset[str] | None = None
    disabled_vault_patch_providers: frozenset[str] | None = None
    expose_credential_providers: frozenset[str] = frozenset()
    unrestricted: bool = True
    timezone: str | None = None
    agent_config_dir: Path | None = None
    shared_dir: Path | None = None
    shared_mount: str = "/shared"
    task_dir: Path | None = None
    envs_dir: Path | None = None
    extra_volumes: tuple[VolumeSpec, ...] = ()
    installed: frozenset[str] | None = None
    gate: GateGrant | None = None
    home_dir: Path | None = None


@dataclass(frozen=True)
class ContainerEnvResult:
    """Environment variables, volumes in mount order, the task's directory on the host, and the launch's context.

    Pass *context* on to :meth:`~terok_executor.AgentRunner.launch_prepared` together with the environment.
    """

    env: dict[str, str]
    volumes: tuple[VolumeSpec, ...]
    task_dir: Path
    context: LaunchContext = field(default_factory=LaunchContext)


def assemble_container_env(
    spec: ContainerEnvSpec, roster: AgentRoster, *, caller_manages_vault: bool = False,
    per_container: PerContainerResources | None = None,
) -> ContainerEnvResult:  # fmt: skip
    """Copy the shared directories for this container, mint phantom tokens, and return what the container gets.

    *caller_manages_vault* leaves out the tokens alone. The addresses are those of *per_container*, else of the
    configured transport.

    Raises:
        ConfigPatchError: a shared settings file cannot be changed; the container must not start.
        SystemExit: an argument cannot be used, a shared directory is not plain, or the vault is needed and locked.
        ValueError: two agents want one variable with different values.
    """
    with _task_dir(spec) as task_dir:
        return _assembled(spec, roster, task_dir, caller_manages_vault, per_container)


@contextmanager
def _task_dir(spec: ContainerEnvSpec) -> Iterator[Path]:
    """The task's directory; one that is created here is removed when the assembly fails."""
    if spec.task_dir:
        yield spec.task_dir
        return
    made = Path(tempfile.mkdtemp(prefix=f"terok-executor-{spec.task_id}-"))
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _assembled(
    spec: ContainerEnvSpec, roster: AgentRoster, task_dir: Path, caller_manages_vault: bool,
    per_container: PerContainerResources | None,
) -> ContainerEnvResult:  # fmt: skip
    from terok_native import _lib

    from terok_executor.integrations import sandbox as catalogue
    from terok_executor.roster.loader import roster_mapping

    cfg = catalogue.SandboxConfig()
    services = _services(cfg, per_container)
    table = roster_mapping(roster)
    home = spec.home_dir or Path(task_dir) / HOME_DIR
    plain = {**_plain(spec), "home_dir": str(home.absolute())}
    mounts = [
        catalogue.VolumeSpec(Path(v["host_path"]), v["container_path"], v["sharing"], v["read_only"])
        for v in _lib.agents_environment_prepare(plain, table, services)
    ]
    if spec.scan_leaked_creds:
        _warn_of_leaks(Path(plain["envs_dir"]))
    grants = {} if caller_manages_vault else _mint(spec, roster, cfg)
    env = _lib.agents_environment_variables(plain, table, grants, services)
    if spec.gate is not None:
        env["TEROK_GATE_TOKEN"] = spec.gate.token
    volumes = (*mounts, *spec.extra_volumes)
    return ContainerEnvResult(env, volumes, task_dir, _context(spec, roster, grants, volumes, home))


def _context(
    spec: ContainerEnvSpec, roster: AgentRoster, grants: dict[str, Any], volumes: tuple[VolumeSpec, ...], home: Path,
) -> LaunchContext:  # fmt: skip
    from terok_executor.container.context import shared_logins

    tokens = [grant["token"] for grant in grants.get("providers", ())] + [grants.get("ssh_token")]
    return LaunchContext(
        binding=TokenBinding(spec.credential_scope, spec.task_id, spec.credential_set) if any(tokens) else None,
        tokens=tuple(token for token in tokens if token),
        gate=spec.gate,
        shared_logins=shared_logins(roster, volumes),
        unrestricted=spec.unrestricted,
        home_dir=home.absolute(),
    )


def _services(cfg: SandboxConfig, per_container: PerContainerResources | None) -> dict[str, Any]:
    """The transport and this container's ports, the same that its supervisor binds."""
    if per_container is not None:
        broker, signer = per_container.token_broker_port, per_container.ssh_signer_port
        return {"tcp": broker is not None, "broker_port": broker, "signer_port": signer}
    ports = {"broker_port": cfg.token_broker_port, "signer_port": cfg.ssh_signer_port}
    return {"tcp": cfg.services_mode == "tcp", **ports}


def _plain(spec: ContainerEnvSpec) -> dict[str, Any]:
    from terok_executor import paths
    from terok_executor._util import detect_host_timezone

    out: dict[str, Any] = {}
    for key, value in vars(spec).items():
        if key in ("extra_volumes", "gate"):
            continue
        value = sorted(value) if isinstance(value, (frozenset, set)) else value
        out[key] = str(value) if isinstance(value, Path) else value
    out["envs_dir"] = str(spec.envs_dir or paths.mounts_dir())
    out["timezone"] = spec.timezone or detect_host_timezone()
    return out


def _mint(spec: ContainerEnvSpec, roster: AgentRoster, cfg: SandboxConfig) -> dict[str, Any]:
    """Phantom tokens for what is stored and routed; nothing, or ``SystemExit``, when the vault does not open."""
    try:
        db = cfg.open_credential_db()
    except Exception as error:
        return _without_vault(spec, error)
    try:
        return _mint_from(db, spec, roster)
    except Exception as error:
        return _without_vault(spec, error)
    finally:
        db.close()


def _mint_from(db: Any, spec: ContainerEnvSpec, roster: AgentRoster) -> dict[str, Any]:
    """The tokens of this container; those of an earlier container of the same task end with it."""
    scope, subject, chosen = spec.credential_scope, spec.task_id, spec.credential_set
    stored = set(db.list_credentials(chosen))
    kinds = {
        name: str((db.load_credential(chosen, name) or {}).get("type") or "api_key")
        for name in roster.vault_routes
        if name in stored
    }
    with db.transaction():
        db.revoke_tokens(scope, subject)
        tokens = {name: db.create_token(scope, subject, chosen, name) for name in kinds}
        ssh = db.create_token(scope, subject, scope, "ssh") if db.list_ssh_keys_for_scope(scope) else None
    granted = [{"provider": name, "credential_type": kinds[name], "token": tokens[name]} for name in kinds]
    return {"providers": granted, "ssh_token": ssh}


def _without_vault(spec: ContainerEnvSpec, error: Exception) -> dict[str, Any]:
    first = (str(error).splitlines() or [""])[0]
    if spec.vault_required:
        raise SystemExit(f"cannot make tokens for `{spec.task_id}`: {type(error).__name__}: {first}") from error
    print(f"Warning [vault]: {type(error).__name__}: {first}; the agent starts without credentials", file=sys.stderr)
    return {}


def _warn_of_leaks(mounts: Path) -> None:
    from terok_executor.credentials.vault_commands import scan_leaked_credentials

    for provider, path in scan_leaked_credentials(mounts):
        _log.warning("a real credential of %s lies in a shared directory", provider)
        _log.debug("the file is %s", path)


__all__ = ["ContainerEnvResult", "ContainerEnvSpec", "assemble_container_env"]
