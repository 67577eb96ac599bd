"""What is there of a project and what is out of date.

What cannot be found out is logged and counts as "no"; nothing here fails because a project's images, vault or gate do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from terok.lib.core.config import build_dir
from terok.lib.core.images import project_cli_image
from terok.lib.core.projects import load_project
from terok.lib.core.task_state import container_name

if TYPE_CHECKING:
    from terok_sandbox.runtime.protocol import Image

    from terok.lib.core.project_model import ProjectConfig

LAYERS = ("l0", "l1", "l2")
_DOCKERFILES = ("L0.Dockerfile", "L1.cli.Dockerfile", "L2.Dockerfile")


def get_project_state(
    project_id: str,
    gate_commit_provider: Callable[[str], dict[str, Any] | None] | None = None,
    *,
    project: ProjectConfig | None = None,
) -> dict[str, Any]:
    """What is there of a project.

    Args:
        gate_commit_provider: Called with the project id when the gate's mirror exists; its answer is passed on.
        project: The project, when the caller has it already.

    Returns:
        ``dockerfiles``, ``dockerfiles_old``, ``images``, ``images_old``, ``ssh``, ``gate`` (bool each),
        ``stale_layers`` (of ``l0``, ``l1``, ``l2``), ``gate_last_commit`` (mapping or ``None``).

    Raises:
        SystemExit: there is no such project, or it cannot be read.
    """
    project = project or load_project(project_id)
    stage = build_dir() / project.id
    dockerfiles = all((stage / name).is_file() for name in _DOCKERFILES)
    rendered = _rendered(project) if dockerfiles else None
    dockerfiles_old = rendered is not None and any(_text(stage / name) != rendered[name] for name in _DOCKERFILES)
    images = _image_exists(project_cli_image(project.id))
    stale: list[str] = []
    if images and dockerfiles:
        stale = list(LAYERS) if dockerfiles_old else _detect_stale_layers(project, rendered)
    gate = project.gate_path.is_dir()
    return {
        "dockerfiles": dockerfiles,
        "dockerfiles_old": dockerfiles_old,
        "images": images,
        "images_old": bool(stale),
        "stale_layers": stale,
        "ssh": _scope_has_vault_key(project.id),
        "gate": gate,
        "gate_last_commit": _last_commit(project_id, gate_commit_provider) if gate else None,
    }


def is_task_image_old(project_id: str | None, task: Any) -> bool | None:
    """Whether a task's container runs another image than the project would give it now.

    The image that the container really runs is compared: with the project's present image, and its label with what the
    project's configuration stands for.

    Args:
        task: Anything with ``mode`` and ``task_id``.

    Returns:
        ``None`` when that does not apply (no project, not an interactive task, not running) or cannot be told.
    """
    if project_id is None or task.mode != "cli":
        return None
    from terok.lib.integrations import sandbox

    container = sandbox.PodmanRuntime().container(container_name(project_id, task.mode, task.task_id))
    image = container.image if container.running else None
    return None if image is None else _is_outdated(project_id, image)


def _is_outdated(project_id: str, image: Image) -> bool | None:
    from terok.lib.integrations import sandbox
    from terok.lib.orchestration import image as images

    built_from = image.labels().get(images.CONTEXT_LABEL)
    if not built_from:
        return True
    present, own = sandbox.PodmanRuntime().image(project_cli_image(project_id)).id, image.id
    if present and own and _plain(present) != _plain(own):
        return True
    try:
        return built_from != images.build_context_hash(project_id)
    except (Exception, SystemExit) as error:
        _log("what the image of project `%s` is made from", project_id, error)
        return None


def _detect_stale_layers(project: ProjectConfig, rendered: dict[str, str] | None) -> list[str]:
    """The layers that the last build made from something else; all of them when that cannot be told."""
    if not rendered:
        return list(LAYERS)
    from terok.lib.orchestration import image as images

    try:
        return images.stale_layers(project, rendered)
    except (ImportError, OSError, ValueError, KeyError) as error:
        _log("which layers of project `%s` are out of date", project.id, error)
        return list(LAYERS)


def _rendered(project: ProjectConfig) -> dict[str, str] | None:
    from terok.lib.orchestration import image as images

    try:
        return images.render_all_dockerfiles(project)
    except (Exception, SystemExit) as error:
        _log("the Dockerfiles of project `%s`", project.id, error)
        return None


def _image_exists(tag: str) -> bool:
    from terok.lib.orchestration import image as images

    return images.image_exists(tag)


def _scope_has_vault_key(scope: str) -> bool:
    """Whether the vault has an SSH key for this scope; a locked or broken vault has none."""
    from terok.lib.domain.vault import maybe_vault_db

    try:
        with maybe_vault_db() as db:
            return db is not None and bool(db.list_ssh_keys_for_scope(scope))
    except Exception as error:
        _log("SSH keys of project `%s`", scope, error)
        return False


def _last_commit(project_id: str, provider: Callable[[str], dict[str, Any] | None] | None) -> dict[str, Any] | None:
    if provider is None:
        return None
    try:
        return provider(project_id)
    except Exception as error:
        _log("the last commit in the gate of project `%s`", project_id, error)
        return None


def _text(path: Any) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _plain(image_id: str) -> str:
    return image_id.removeprefix("sha256:")


def _log(what: str, project_id: str, error: BaseException) -> None:
    import logging

    logging.getLogger(__name__).warning(f"cannot find out {what}: %s", project_id, error)
