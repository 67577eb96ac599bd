"""What can be told about a project whose project.yml is wrong: its places, and which mirror it claims.

Deleting such a project, or another one, must neither fail for it nor remove what it still needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

# For annotations only: the model is costly to load.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig
    from terok.lib.core.projects import BrokenProject

__all__ = ["default_project", "gate_claims", "places_of_others"]


def gate_claims() -> list[tuple[str, Path | None, str | None]]:
    """Return id, mirror and upstream of every project; the mirror is ``None`` where the file cannot be read at all."""
    from terok.lib.core import projects

    healthy, broken = projects.discover_projects()
    claims: list[tuple[str, Path | None, str | None]] = [(p.id, p.gate_path, p.upstream_url) for p in healthy]
    return claims + [_claim(project) for project in broken]


def _claim(project: BrokenProject) -> tuple[str, Path | None, str | None]:
    from terok.lib.core import config

    said = _read(Path(project.config_path))
    if said is None:
        return project.id, None, None
    path = _text(said, "gate", "path")
    upstream = _text(said, "git", "upstream_url")
    return project.id, Path(path) if path else config.gate_repos_dir() / f"{project.id}.git", upstream


def places_of_others(project_id: str) -> set[Path]:
    """Return the directories that other projects have, and the one of the logins that projects share; all resolved."""
    from terok.lib.core import config, projects

    healthy, broken = projects.discover_projects()
    found: set[Path | None] = {config.sandbox_live_mounts_dir()}
    for project in healthy:
        if project.id != project_id:
            found |= {project.root, project.tasks_root, project.gate_path, project.staging_root}
    for wrong in broken:
        if wrong.id != project_id:
            found |= {Path(wrong.config_path).parent, _tasks_root(wrong), _claim(wrong)[1]}
    return {Path(place).expanduser().resolve() for place in found if place is not None}


def _tasks_root(project: BrokenProject) -> Path:
    from terok.lib.core import config

    chosen = _text(_read(Path(project.config_path)) or {}, "tasks", "root")
    return Path(chosen) if chosen else config.sandbox_live_dir() / "tasks" / project.id


def _read(path: Path) -> dict[str, Any] | None:
    from terok.lib.util import yaml

    try:
        said = yaml.load(path.read_text(encoding="utf-8"))
    except Exception:
        return None
    return said if isinstance(said, dict) else None


def _text(said: dict[str, Any], section: str, key: str) -> str | None:
    found = said.get(section)
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) and value else None


def default_project(project_id: str) -> ProjectConfig:
    """Return the places that a project of this id has unless its file says otherwise.

    Raises:
        SystemExit: there is no project of this id.
    """
    from terok.lib.core import config, projects
    from terok.lib.core.project_model import ProjectConfig

    root = projects._find_project_root(project_id)
    claimed = next((path for name, path, _ in gate_claims() if name == project_id), None)
    return ProjectConfig.model_construct(
        id=project_id,
        security_class="gatekeeping",
        upstream_url=None,
        default_branch=None,
        root=root,
        tasks_root=config.sandbox_live_dir() / "tasks" / project_id,
        gate_path=claimed or config.gate_repos_dir() / f"{project_id}.git",
        staging_root=config.build_dir() / project_id,
    )
