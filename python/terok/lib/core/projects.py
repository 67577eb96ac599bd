"""Finding, loading and changing projects.

Every mistake in a ``project.yml`` or in an argument is a ``SystemExit`` whose text names the file.
"""

from __future__ import annotations

import sys
import typing
from dataclasses import dataclass
from pathlib import Path

from terok_native import _lib
from terok_native.kept import kept

from terok.lib.core import config

if typing.TYPE_CHECKING:
    from terok.lib.core.project_model import PresetInfo, ProjectConfig

DEFAULT_GIT_AUTHORSHIP = "agent-human"
VALID_GIT_AUTHORSHIP_MODES = ("agent-human", "human-agent", "agent", "human")


@kept
@dataclass(frozen=True)
class BrokenProject:
    """A project that cannot be loaded: the name of its directory, its ``project.yml``, and what is wrong.

    ``error`` is safe to print and its first line is never empty.
    """

    id: str
    config_path: Path
    error: str


def discover_projects() -> tuple[list[ProjectConfig], list[BrokenProject]]:
    """Return the projects that can be loaded and those that cannot, both by id."""
    from terok.lib.core.project_model import from_native

    found = _lib.project_all()
    healthy = [from_native(fields) for fields in found["healthy"]]
    broken = [BrokenProject(row["id"], Path(row["config_path"]), row["error"]) for row in found["broken"]]
    return healthy, broken


def list_projects() -> list[ProjectConfig]:
    """Return the projects that can be loaded, by id; each of the others is named on stderr and in the Python log."""
    healthy, broken = discover_projects()
    for project in broken:
        _tell(project)
    return healthy


def _tell(project: BrokenProject) -> None:
    import logging

    logger = logging.getLogger(__name__)
    # Without any handler Python would print the line as well.
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.warning("project %r is broken: %s", project.id, project.error.replace("\n", "\\n"))
    print(f"warning: project '{project.id}' is broken: {project.error}", file=sys.stderr)


def load_project(project_id: str) -> ProjectConfig:
    """Return one project."""
    from terok.lib.core.project_model import from_native

    return from_native(_lib.project_load(project_id))


def tasks_root(project_id: str) -> Path:
    """Return the directory that holds the directories of a project's tasks, without making the model of the project."""
    return Path(_lib.project_load(project_id)["tasks_root"])


def require_project_exists(project_id: str) -> None:
    """Make sure that there is a project of that id; its file is not read."""
    _lib.project_root(project_id)


def _find_project_root(project_id: str) -> Path:
    return _lib.project_root(project_id)


def _discover_project_paths() -> dict[str, Path]:
    return _lib.project_directories()


def normalize_git_authorship(value: typing.Any) -> str:
    """Return the mode that *value* means, the default for nothing; any other than the four is refused."""
    if value is not None and not isinstance(value, str):
        value = repr(value)
    return _lib.project_authorship(value)


def find_preset_path(project: ProjectConfig, name: str) -> Path | None:
    """Return the file of a preset: the project's, the user's or the bundled one; ``None`` when there is none."""
    return _lib.project_preset_path(project.root, config.bundled_presets_dir(), name)


def list_presets(project_id: str) -> list[PresetInfo]:
    """Return every preset a project can use, by name; of several with one name the one that would be used."""
    from terok.lib.core.project_model import PresetInfo

    rows = _lib.project_presets(load_project(project_id).root, config.bundled_presets_dir())
    return [PresetInfo(row["name"], row["source"], Path(row["path"])) for row in rows]


def load_preset(project_id: str, name: str) -> tuple[dict[str, typing.Any], Path]:
    """Return the content of a preset, with the files of its subagents made absolute, and its own file."""
    content, preset = _lib.project_preset(load_project(project_id).root, config.bundled_presets_dir(), name)
    return content, Path(preset["path"])


def derive_project(source_id: str, new_id: str) -> Path:
    """Make a project with the settings and the gate of another and return its directory.

    Left out are the agent configuration and the presets; comments and ``instructions.md`` come along.
    """
    return _lib.project_derive(source_id, new_id)


def set_project_image_agents(project_id: str, selection: str) -> Path:
    """Write ``image.agents`` into a project's file, keep the rest of it, make it private, and return its path.

    The selection itself is not checked.
    """
    return _lib.project_set_agents(project_id, str(selection))


def __getattr__(name: str) -> typing.Any:
    # The model takes longer to load than most commands to run, and many only want to know that a project exists.
    if name not in ("PresetInfo", "ProjectConfig"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from terok.lib.core import project_model

    value = globals()[name] = getattr(project_model, name)
    return value
