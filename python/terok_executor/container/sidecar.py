"""The file that tells a container's supervisor what to serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.launch import PerContainerResources


def write_supervisor_sidecar(
    container_name: str, *, cfg: SandboxConfig, per_container: PerContainerResources,
    scope_id: str = "", project_id: str = "", task_id: str = "", dossier_path: Path | str | None = None,
    gate_base_path: Path | None = None, gate_token: str | None = None, gate_port: int | None = None,
    gate_scope: str = "", token_scope: str = "", token_subject: str = "", credential_set: str = "",
    shared_logins: tuple[str, ...] | None = None, home_dir: Path | None = None,
) -> Path | None:  # fmt: skip
    """Write ``<state_dir>/sidecar/<container_name>.json`` (0600, whole) and return its path.

    The arguments from *gate_scope* on confine the container to one repository, to its own tokens and to the shared
    logins it was given, and name its copies of the agent folders; see :func:`terok_sandbox.launch.write_sidecar`.

    ``None`` and a warning on stderr when it cannot be written: the container must not start then.

    Raises:
        ValueError: the name is not one plain path component.
    """
    from terok_executor.integrations import sandbox as catalogue

    return catalogue.write_sidecar(
        container_name, cfg=cfg, per_container=per_container, scope_id=scope_id, project_id=project_id,
        task_id=task_id, dossier_path=None if dossier_path is None else Path(dossier_path),
        gate_base_path=gate_base_path, gate_token=gate_token, gate_port=gate_port, gate_scope=gate_scope,
        token_scope=token_scope, token_subject=token_subject, credential_set=credential_set,
        shared_logins=shared_logins, home_dir=home_dir,
    )  # fmt: skip
