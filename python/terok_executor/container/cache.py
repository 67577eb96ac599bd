"""Workspaces filled from the host's clone cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_log = logging.getLogger(__name__)


def seed_workspace_from_clone_cache(
    workspace_path: Path, scope: str, *, origin_url: str | None = None, cfg: SandboxConfig | None = None
) -> bool:
    """Copy ``<clone cache>/<scope>`` into a workspace that holds nothing but the new-task marker.

    True when the workspace holds a repository afterwards, its origin set to *origin_url*. A failure is logged, leaves
    nothing behind and gives ``False``. *cfg* may be anything with ``clone_cache_base_path``.
    """
    from terok_native import _lib

    if scope in ("", ".", "..") or "/" in scope or "\\" in scope or "\0" in scope:
        _log.warning("clone-cache scope %r is not a plain name", scope)
        return False
    if cfg is None:
        from terok_executor.integrations import sandbox as catalogue

        cfg = catalogue.SandboxConfig()
    cache = Path(cfg.clone_cache_base_path) / scope
    done, warnings = _lib.agents_seed_workspace(workspace_path, cache, origin_url)
    for line in warnings:
        _log.warning("%s", line)
    return done
