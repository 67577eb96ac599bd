"""What a launch grants to its container, as values: tokens, repository behind the gate, shared logins, restriction.

:func:`~terok_executor.container.env.assemble_container_env` makes the context and
:meth:`~terok_executor.AgentRunner.launch_prepared` takes it. A caller without one hands in variables alone; then the
vault decides whose the tokens among them are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.sandbox import VolumeSpec

    from terok_executor.roster import AgentRoster

#: Providers whose credential file in the shared mount holds a fixed marker that the broker can stand in for.
_MARKED = ("claude", "codex")


@dataclass(frozen=True)
class TokenBinding:
    """Whose the phantom tokens of one container are: its supervisor honours no others.

    *credential_set* is what its shared logins are read from; empty when its tokens read several sets.
    """

    scope: str
    subject: str
    credential_set: str = ""


@dataclass(frozen=True)
class GateGrant:
    """The one repository behind the gate (its name without ``.git``) that the token opens."""

    repository: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class LaunchContext:
    """The facts of one launch.

    Args:
        binding: Owner of *tokens*; ``None`` for a container without any.
        tokens: Every phantom token that the environment may hold.
        gate: Access to the git gate; ``None`` without one.
        shared_logins: Providers whose shared login is mounted.
        unrestricted: The agent may gain privileges inside its container.
        home_dir: The container's copies of the agent folders; settings flow back from them at its end.
    """

    binding: TokenBinding | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    gate: GateGrant | None = None
    shared_logins: tuple[str, ...] = ()
    unrestricted: bool = True
    home_dir: Path | None = None


def shared_logins(roster: AgentRoster, volumes: Iterable[VolumeSpec]) -> tuple[str, ...]:
    """The providers whose shared login a container with these mounts has: their credential file is there, read-only."""
    shadowed = {volume.container_path for volume in volumes if volume.read_only}
    found = []
    for name in _MARKED:
        route, entry = roster.vault_routes.get(name), roster.auth_providers.get(name)
        if route and entry and f"{entry.container_mount}/{route.credential_file}" in shadowed:
            found.append(name)
    return tuple(found)


def resolve(
    context: LaunchContext | None, env: Mapping[str, str], volumes: Iterable[VolumeSpec], *, cfg: SandboxConfig,
    roster: AgentRoster, unrestricted: bool = True,
) -> LaunchContext:  # fmt: skip
    """The context that *env* is launched with: *context* where it covers *env*, else what vault and values say.

    Opens the vault only for tokens that *context* does not name.

    Raises:
        BuildError: a token in *env* is unknown, has another owner, or the vault that knows it does not open.
    """
    from terok_executor.container import gating

    given = context or LaunchContext(shared_logins=shared_logins(roster, volumes))
    binding = given.binding if _covers(given, env) else _looked_up(env, given.binding, cfg)
    gate = given.gate
    if token := env.get("TEROK_GATE_TOKEN"):
        gate = gate if gate and gate.token == token else GateGrant(gating.served_repository(env), token)
    return LaunchContext(
        binding=binding,
        tokens=given.tokens,
        gate=gate,
        # Of several credential sets none can be said to be the one that shared logins are read from.
        shared_logins=given.shared_logins if binding is None or binding.credential_set else (),
        unrestricted=given.unrestricted and unrestricted,
        home_dir=given.home_dir,
    )


def _covers(context: LaunchContext, env: Mapping[str, str]) -> bool:
    from terok_native import _lib

    return set(_lib.vault_tokens_in(dict(env))) <= set(context.tokens)


def _looked_up(env: Mapping[str, str], expected: TokenBinding | None, cfg: SandboxConfig) -> TokenBinding | None:
    """The owner that the vault names for the tokens in *env*; it must be *expected* where that is given."""
    from terok_executor.container.build import BuildError

    try:
        db = cfg.open_credential_db()
    except Exception as error:
        raise BuildError(
            f"cannot launch: whose the phantom tokens in the environment are is not known: {error}\n"
            "hint: unlock the vault with `terok-sandbox vault unlock` and launch again"
        ) from error
    try:
        found = db.token_binding(dict(env))
    except Exception as error:
        raise BuildError(f"cannot launch: {error}") from error
    finally:
        db.close()
    binding = TokenBinding(found["scope"], found["subject"], found["credential_set"] or "") if found else None
    owner = (expected.scope, expected.subject) if expected else None
    if owner and binding and owner != (binding.scope, binding.subject):
        raise BuildError(
            "cannot launch: the environment holds phantom tokens that its launch context does not name\n"
            "hint: pass the context that came with this environment"
        )
    return binding


__all__ = ["GateGrant", "LaunchContext", "TokenBinding", "resolve", "shared_logins"]
