"""Git mirrors on the host, which containers clone from and push to.

A mirror is a bare repository per project. Synchronising adds the upstream's news and moves branches forward; what was
pushed to the mirror is never rewound or deleted, and whatever a reference pointed to stays reachable.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from terok_native.kept import kept
from terok_util.shell import command_line

# For annotations only: it is loaded when an upstream is reached over SSH.
if TYPE_CHECKING:
    from terok_sandbox.gate.identity import ScopeIdentity

__all__ = [
    "BranchSyncResult",
    "CommitInfo",
    "GateAuthNotConfigured",
    "GateStalenessInfo",
    "GateSyncResult",
    "GitGate",
    "is_ssh_url",
]

_log = logging.getLogger(__name__)


class GateSyncResult(TypedDict):
    """What :meth:`GitGate.sync` did."""

    path: str
    #: ``None`` for a mirror that only collects what is pushed.
    upstream_url: str | None
    created: bool
    success: bool
    updated_branches: list[str]
    errors: list[str]
    #: The clone cache followed.
    cache_refreshed: bool


class BranchSyncResult(TypedDict):
    """What :meth:`GitGate.sync_branches` did."""

    success: bool
    updated_branches: list[str]
    errors: list[str]


class CommitInfo(TypedDict):
    """One commit: full id, author date (ISO-like, with offset), subject, author's name."""

    commit_hash: str
    commit_date: str
    commit_message: str
    #: Without the address.
    commit_author: str


@kept
@dataclass(frozen=True)
class GateStalenessInfo:
    """How a branch of the mirror compares with the upstream's.

    The counts are ``None`` when they cannot be told, for example before the upstream's tip was fetched.
    ``last_checked`` is local time without a zone; ``error`` says why nothing was compared.
    """

    branch: str | None
    gate_head: str | None
    upstream_head: str | None
    #: The two heads differ; true also when the mirror is ahead.
    is_stale: bool
    commits_behind: int | None
    commits_ahead: int | None
    last_checked: str
    error: str | None


@kept
class GateAuthNotConfigured(RuntimeError):
    """The upstream is reached over SSH, and the vault has no key for the project."""

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"cannot reach the upstream of {scope!r} over SSH: the vault has no usable key for it\n"
            f"hint: make one with `{command_line('terok', 'project', 'ssh-init', scope)}` and register it with the "
            "forge, or use your own SSH keys with "
            f"`{command_line('terok', 'project', 'gate-sync', '--use-personal-ssh', scope)}`"
        )
        self.scope = scope


def is_ssh_url(url: str | None) -> bool:
    """Return true when git would reach ``url`` over SSH: ``ssh://…`` or ``[user@]host:path``."""
    from terok_native import _lib

    return bool(url) and _lib.mirror_is_ssh_url(str(url))


class GitGate:
    """One project's mirror. Making the object touches nothing; methods block and may be called from any thread.

    ``progress``, when set, is called with each line that git says while it transfers; see
    :func:`terok_sandbox.gate.progress.terminal_progress`.
    """

    progress: Callable[[str], object] | None = None
    _identity: ScopeIdentity | None = None

    def __init__(
        self, *, scope: str, gate_path: Path | str, upstream_url: str | None = None, default_branch: str | None = None,
        use_personal_ssh: bool = False, validate_gate_fn: Callable[[str], None] | None = None,
        clone_cache_base: Path | str | None = None,
    ) -> None:  # fmt: skip
        """Describe a mirror.

        Args:
            scope: the project, and the scope of its keys in the vault.
            gate_path: the bare repository.
            upstream_url: where it comes from; without one the mirror only collects what is pushed to it.
            default_branch: the branch that is compared and reported by default.
            use_personal_ssh: the user's own SSH set-up instead of the vault's keys, never both.
            validate_gate_fn: called with the scope before anything is done; what it raises goes to the caller.
            clone_cache_base: directory for working trees that new workspaces are copied from.
        """
        self._validate_gate_fn = validate_gate_fn
        self._gate_path = Path(gate_path)
        self._scope = scope
        self._use_personal_ssh = use_personal_ssh
        self._default_branch = default_branch
        self._upstream_url = upstream_url
        self._clone_cache_base = None if clone_cache_base is None else Path(clone_cache_base)

    @property
    def cache_path(self) -> Path | None:
        """Where this project's clone cache lies; ``None`` without one."""
        return None if self._clone_cache_base is None else self._clone_cache_base / self._scope

    def sync(self, branches: list[str] | None = None, force_reinit: bool = False) -> GateSyncResult:
        """Create the mirror when there is none and bring it up to date.

        Args:
            branches: the only branches that may move; default all.
            force_reinit: start anew; the old mirror is moved aside, never deleted.

        Returns:
            The result; trouble with the upstream of an existing mirror is reported in ``errors``.

        Raises:
            SystemExit: git is missing, or the mirror cannot be created.
            GateAuthNotConfigured: the vault has no key for an upstream over SSH.
            RuntimeError: the agent that would sign for it does not start.
        """
        from terok_native import _lib

        self._validate()
        self._gate_path.parent.mkdir(parents=True, exist_ok=True)
        upstream = self._upstream()
        created, aside = _lib.mirror_prepare(
            self._gate_path, upstream, self._default_branch, force_reinit, self.progress
        )
        if aside is not None:
            _log.warning("The old mirror of %s is kept in %s", self._scope, aside)
        result = GateSyncResult(
            path=str(self._gate_path), upstream_url=self._upstream_url, created=created, success=True,
            updated_branches=[], errors=[], cache_refreshed=False,
        )  # fmt: skip
        if upstream is None:
            result["upstream_url"] = None
            return result
        done = self.sync_branches(branches)
        result["success"], result["updated_branches"], result["errors"] = (
            done["success"], done["updated_branches"], done["errors"],
        )  # fmt: skip
        if done["success"]:
            result["cache_refreshed"] = self._refresh_cache()
        return result

    def sync_branches(self, branches: list[str] | None = None) -> BranchSyncResult:
        """Fetch the upstream's news into an existing mirror.

        ``updated_branches`` repeats the argument, or says ``["all"]``.

        Raises:
            GateAuthNotConfigured: the vault has no key for an upstream over SSH.
        """
        from terok_native import _lib

        if not self._gate_path.is_dir():
            return BranchSyncResult(success=False, updated_branches=[], errors=["Gate not initialized"])
        self._validate()
        upstream = self._upstream()
        if upstream is None:
            return BranchSyncResult(success=True, updated_branches=branches or ["all"], errors=[])
        done = _lib.mirror_synchronise(self._gate_path, upstream, branches, self.progress)
        for name, why in done["left"]:
            _log.info("%s of %s stays as it is: %s", name, self._scope, why)
        for name in done["kept"]:
            _log.info("Kept in the mirror of %s: %s", self._scope, name)
        if done["error"] is not None:
            return BranchSyncResult(success=False, updated_branches=[], errors=[done["error"]])
        return BranchSyncResult(success=True, updated_branches=branches or ["all"], errors=[])

    def compare_vs_upstream(self, branch: str | None = None) -> GateStalenessInfo:
        """Compare a branch of the mirror with the upstream's, which is asked over the network.

        Raises:
            GateAuthNotConfigured: the vault has no key for an upstream over SSH; not while local facts decide.
        """
        from terok_native import _lib

        branch = branch or self._default_branch
        head = None if branch is None else self._head(branch)
        if not branch:
            return _unknown(None, None, "No branch configured")
        if head is None:
            return _unknown(branch, None, "Gate not initialized")
        upstream = self._upstream()
        if upstream is None:
            return _unknown(branch, head, "No upstream URL configured")
        there = _lib.mirror_upstream_head(upstream, branch)
        if there is None:
            return _unknown(branch, head, "Could not reach upstream")
        behind: int | None = 0
        ahead: int | None = 0
        if head != there:
            behind = _lib.mirror_distance(self._gate_path, head, there)
            ahead = _lib.mirror_distance(self._gate_path, there, head)
        return GateStalenessInfo(branch, head, there, head != there, behind, ahead, datetime.now().isoformat(), None)

    def last_commit(self) -> CommitInfo | None:
        """Return the last commit of the default branch, else of ``HEAD``; ``None`` when there is none. Never raises."""
        from terok_native import _lib

        try:
            found = _lib.mirror_last_commit(self._gate_path, self._default_branch)
        except Exception:
            _log.debug("No last commit of %s", self._gate_path, exc_info=True)
            return None
        if found is None:
            return None
        commit, date, author, subject = found
        return CommitInfo(commit_hash=commit, commit_date=date, commit_message=subject, commit_author=author)

    def close(self) -> None:
        """Stop the agent that signs for the upstream; closing again does nothing."""
        identity, self._identity = self._identity, None
        if identity is not None:
            identity.close()

    def __del__(self) -> None:
        # At the interpreter's end there is nobody to tell.
        with contextlib.suppress(Exception):
            self.close()

    def _validate(self) -> None:
        if self._validate_gate_fn is not None:
            self._validate_gate_fn(self._scope)

    def _head(self, branch: str) -> str | None:
        from terok_native import _lib

        try:
            return _lib.mirror_head(self._gate_path, branch)
        except (SystemExit, OSError):
            return None

    def _upstream(self) -> dict[str, Any] | None:
        """The upstream and the identity we go there with; SSH starts the agent of the vault's keys."""
        if not self._upstream_url:
            return None
        upstream: dict[str, Any] = {"url": self._upstream_url, "personal": self._use_personal_ssh}
        if is_ssh_url(self._upstream_url) and not self._use_personal_ssh:
            if self._identity is None:
                from terok_sandbox.gate.identity import ScopeIdentity

                self._identity = ScopeIdentity(self._scope, self._gate_path.parent)
            upstream["identity"] = self._identity.environment()
        return upstream

    def _refresh_cache(self) -> bool:
        from terok_native import _lib

        if (cache := self.cache_path) is None:
            return False
        try:
            _lib.mirror_refresh_cache(self._gate_path, cache)
        except (Exception, SystemExit) as problem:
            _log.warning("The clone cache of %s is not up to date: %s", self._scope, problem)
            return False
        return True


def _unknown(branch: str | None, gate_head: str | None, error: str) -> GateStalenessInfo:
    return GateStalenessInfo(branch, gate_head, None, False, None, None, datetime.now().isoformat(), error)
