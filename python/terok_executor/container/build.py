"""Container images: names, recipes, builds.

Layer 0 is the shared base layer, layer 1 holds the selected agents, the sidecar layer holds one tool. Recipes and
builds are native; what is here are value types, pass-throughs and the seams callers patch (:func:`build_base_images`
and :func:`build_sidecar_image` are looked up when :class:`ImageBuilder` needs them).
"""

from __future__ import annotations

import dataclasses
import os
import sys
import typing
from pathlib import Path

from terok_native import _lib
from terok_native.kept import kept

DEFAULT_BASE_IMAGE = "fedora:44"
"""Base image of a user who names none."""
AGENTS_LABEL = "ai.terok.agents"
"""Image label with the installed roster entries, sorted and joined by commas."""
VERSIONS_LABEL = "ai.terok.versions"
"""Image label with ``name=version`` pairs of what came from a package registry, joined by commas."""
INSTALLED_ENV_PATH = "/etc/terok/installed.env"
"""File in the image with the one line ``TEROK_INSTALLED_AGENTS=<list>``."""
BOOTSTRAP_IMAGE = "localhost/terok-base:debian-13"
"""The base image :func:`make_base_image` makes."""


@kept
class BuildError(RuntimeError):
    """An image could not be built, or a name or recipe it depends on is not valid."""


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Names of the images of one base: shared layer, agent layer, tool layer if it was built."""

    l0: str
    l1: str
    l1_sidecar: str | None = None


@kept
@dataclasses.dataclass(frozen=True)
class ImageBuilder:
    """Builds and names the images of one base image; ``family`` (``deb`` or ``rpm``) where it cannot be guessed."""

    base_image: str = DEFAULT_BASE_IMAGE
    family: str | None = None

    @property
    def l0_tag(self) -> str:
        """Name of the shared layer."""
        return l0_image_tag(self.base_image)

    @property
    def l1_sidecar_tag(self) -> str:
        """Name of the tool layer."""
        return l1_sidecar_image_tag(self.base_image)

    def l1_tag(self, agents: tuple[str, ...] | None = None) -> str:
        """Name of the agent layer with these entries; without any, the alias of the default selection."""
        return l1_image_tag(self.base_image, agents)

    def build_base(
        self, *, agents: str | tuple[str, ...] = "all", rebuild: bool = False, full_rebuild: bool = False,
        build_dir: Path | None = None, tag_as_default: bool = False,
    ) -> ImageSet:  # fmt: skip
        """Build what is missing of both layers; see :func:`build_base_images`."""
        choice: dict[str, typing.Any] = {"agents": agents, "tag_as_default": tag_as_default}
        effort: dict[str, typing.Any] = {"rebuild": rebuild, "full_rebuild": full_rebuild, "build_dir": build_dir}
        return build_base_images(self.base_image, family=self.family, **choice, **effort)

    def build_sidecar(
        self, *, tool_name: str = "coderabbit", rebuild: bool = False, full_rebuild: bool = False,
        build_dir: Path | None = None,
    ) -> str:  # fmt: skip
        """Build the tool layer; see :func:`build_sidecar_image`."""
        effort: dict[str, typing.Any] = {"rebuild": rebuild, "full_rebuild": full_rebuild, "build_dir": build_dir}
        return build_sidecar_image(self.base_image, family=self.family, tool_name=tool_name, **effort)

    def ensure_default_l1(self, agents: str | tuple[str, ...] = "all") -> str:
        """The default alias, built first when it does not exist."""
        return ensure_default_l1(self.base_image, family=self.family, agents=agents)

    def render_l0(self) -> str:
        """Dockerfile of the shared layer."""
        return render_l0(self.base_image, family=self.family)

    @staticmethod
    def render_l1(l0_tag: str, *, family: str, agents: tuple[str, ...] | str = "all", cache_bust: str = "0") -> str:
        """Dockerfile of the agent layer."""
        return render_l1(l0_tag, family=family, agents=agents, cache_bust=cache_bust)

    @staticmethod
    def render_l1_sidecar(l0_tag: str, *, family: str, tool_name: str = "coderabbit", cache_bust: str = "0") -> str:
        """Dockerfile of the tool layer."""
        return render_l1_sidecar(l0_tag, family=family, tool_name=tool_name, cache_bust=cache_bust)

    @staticmethod
    def detect_family(base_image: str, override: str | None = None) -> str:
        """Package family of a base image; see :func:`detect_family`."""
        return detect_family(base_image, override)

    @staticmethod
    def image_agents(image: str) -> set[str]:
        """Entries an image says it holds; see :func:`image_agents`."""
        return image_agents(image)

    @staticmethod
    def stage_scripts(dest: Path) -> None:
        """Lay the container scripts out as ``dest``."""
        stage_scripts(dest)

    @staticmethod
    def stage_tmux_config(dest: Path) -> None:
        """Lay the container's tmux configuration out as ``dest``."""
        stage_tmux_config(dest)

    @staticmethod
    def stage_toad_agents(dest: Path) -> None:
        """Lay Toad's agent definitions out as ``dest``."""
        stage_toad_agents(dest)


# -- names and families ---------------------------------------------------------------------------


def l0_image_tag(base_image: str | None = None) -> str:
    """``terok-l0:<base>``."""
    return _lib.images_tag("l0", base_image or "", None)


def l1_image_tag(base_image: str | None = None, agents: tuple[str, ...] | None = None) -> str:
    """``terok-l1-cli:<base>-<entries>``, in whatever order they are given; without entries the default alias."""
    return _lib.images_tag("l1", base_image or "", None if agents is None else list(agents))


def l1_sidecar_image_tag(base_image: str | None = None) -> str:
    """``terok-l1-sidecar:<base>``."""
    return _lib.images_tag("l1-sidecar", base_image or "", None)


def detect_family(base_image: str, override: str | None = None) -> str:
    """``deb`` or ``rpm``; ``override`` wins. Unknown or invalid: :class:`BuildError`."""
    return _lib.images_family(base_image or "", override)


def image_agents(image: str) -> set[str]:
    """Entries the image's label lists; empty when podman, the image or the label is missing. Never raises."""
    return set(_lib.images_agents(image))


def image_versions(image: str) -> dict[str, str]:
    """What the image's label says about installed versions, by name; empty when there is none."""
    return dict(_lib.images_versions(image))


# -- recipes and contexts -------------------------------------------------------------------------


def render_l0(base_image: str = DEFAULT_BASE_IMAGE, *, family: str | None = None) -> str:
    """Dockerfile of the shared layer on this base."""
    return _lib.images_render_l0(base_image or "", family)


def render_l1(l0_tag: str, *, family: str, agents: tuple[str, ...] | str = "all", cache_bust: str = "0") -> str:
    """Dockerfile of the agent layer; unknown entries are a ``ValueError``."""
    return _lib.images_render_l1(l0_tag, family, roster_catalog(), _selection(agents), cache_bust)


def render_l1_sidecar(l0_tag: str, *, family: str, tool_name: str = "coderabbit", cache_bust: str = "0") -> str:
    """Dockerfile of the tool layer, which expects the tool's program as ``tool/<name>`` in its context."""
    return _lib.images_render_sidecar(l0_tag, family, tool_name, cache_bust)


def content_hashes(
    base_image: str, *, family: str | None = None, agents: tuple[str, ...] | str = "all"
) -> tuple[str, str]:
    """Hashes (hexadecimal SHA-256) of both layers' recipes as they are now; built images carry them in a label."""
    l0, l1 = _lib.images_hashes(base_image or "", family, roster_catalog(), _selection(agents))
    return l0, l1


def stage_scripts(dest: Path) -> None:
    """Lay the container scripts, bridges included, out as ``dest``; what is there is replaced. Raises ``OSError``."""
    _lib.images_stage("scripts", os.fspath(dest))


def stage_tmux_config(dest: Path) -> None:
    """Lay ``container-tmux.conf`` out in ``dest``; what is there is replaced. Raises ``OSError``."""
    _lib.images_stage("tmux", os.fspath(dest))


def stage_toad_agents(dest: Path) -> None:
    """Lay Toad's agent definitions out as ``dest``; what is there is replaced. Raises ``OSError``."""
    _lib.images_stage("toad-agents", os.fspath(dest))


def stage_help_fragments(dest: Path, agents: tuple[str, ...] | str = "all") -> None:
    """Write the help lines of these entries to ``agents.txt`` and ``dev-tools.txt`` below ``dest``."""
    _lib.images_stage_help(os.fspath(dest), roster_catalog(), _selection(agents))


def prepare_build_context(
    build_dir: Path,
    *,
    base_image: str = DEFAULT_BASE_IMAGE,
    family: str | None = None,
    agents: tuple[str, ...] | str = "all",
) -> Path:
    """Fill a directory with all a build needs: staged folders, ``L0.Dockerfile``, ``L1.cli.Dockerfile``."""
    build_dir = Path(build_dir)
    resolved = detect_family(base_image, family)
    texts = {
        "L0.Dockerfile": render_l0(base_image, family=resolved),
        "L1.cli.Dockerfile": render_l1(l0_image_tag(base_image), family=resolved, agents=agents),
    }
    build_dir.mkdir(parents=True, exist_ok=True)
    stage_scripts(build_dir / "scripts")
    stage_toad_agents(build_dir / "toad-agents")
    stage_tmux_config(build_dir / "tmux")
    stage_help_fragments(build_dir / "help.d", agents)
    for name, text in texts.items():
        (build_dir / name).write_text(text, encoding="utf-8")
    return build_dir


# -- builds ---------------------------------------------------------------------------------------


def build_base_images(
    base_image: str = DEFAULT_BASE_IMAGE, *, family: str | None = None, agents: str | tuple[str, ...] = "all",
    rebuild: bool = False, full_rebuild: bool = False, build_dir: Path | None = None,
    tag_as_default: bool = False, versions: dict[str, str] | None = None, trust_host_ca: bool | str = "auto",
) -> ImageSet:  # fmt: skip
    """Build what is missing of the shared layer and the agent layer.

    ``rebuild`` installs the agents again, ``full_rebuild`` does everything again and fetches the base again.
    ``build_dir`` is used as context and kept; it must be empty or absent. ``tag_as_default`` points the default alias
    at the result. ``versions`` replaces recorded versions, by the names in the versions label; without it the
    variable ``TEROK_IMAGE_VERSIONS`` (``name=version,...``) is read. ``trust_host_ca`` (``auto``, ``always``,
    ``never`` or a bool) says whether the host's additional certificates go in; ``auto`` leaves it to the setting.

    Raises :class:`BuildError`; ``ValueError`` for unknown entries or a bad ``build_dir``; ``TypeError`` for a
    selection that is a text other than ``"all"``.
    """
    request = {
        "base_image": base_image or "",
        "family": family,
        "agents": _selection(agents),
        "rebuild": rebuild,
        "full_rebuild": full_rebuild,
        "build_dir": None if build_dir is None else os.fspath(build_dir),
        "tag_as_default": tag_as_default,
        "versions": list((_env_versions() if versions is None else versions).items()),
        "trust_host_ca": _trust(trust_host_ca),
    }
    return ImageSet(**_lib.images_build_base(request, roster_catalog(), sys.stdout))


def build_sidecar_image(
    base_image: str = DEFAULT_BASE_IMAGE, *, family: str | None = None, tool_name: str = "coderabbit",
    rebuild: bool = False, full_rebuild: bool = False, build_dir: Path | None = None,
    program: Path | None = None, trust_host_ca: bool | str = "auto",
) -> str:  # fmt: skip
    """Build the tool layer, and the shared layer when it is missing; returns the tag.

    No registry offers the bundled tools, so the operator supplies ``program`` (or its path in the variable
    ``TEROK_SIDECAR_PROGRAM``). Without one: :class:`BuildError`.
    """
    supplied = program or os.environ.get("TEROK_SIDECAR_PROGRAM") or None
    request = {
        "base_image": base_image or "",
        "family": family,
        "tool": tool_name,
        "program": None if supplied is None else os.fspath(supplied),
        "rebuild": rebuild,
        "full_rebuild": full_rebuild,
        "build_dir": None if build_dir is None else os.fspath(build_dir),
        "trust_host_ca": _trust(trust_host_ca),
    }
    return _lib.images_build_sidecar(request, sys.stdout)


def ensure_default_l1(
    base_image: str = DEFAULT_BASE_IMAGE, *, family: str | None = None, agents: str | tuple[str, ...] = "all",
) -> str:  # fmt: skip
    """The default alias of the agent layer, built with ``agents`` first when it does not exist."""
    alias = l1_image_tag(base_image)
    if not _lib.images_exists(alias):
        build_base_images(base_image, family=family, agents=agents, tag_as_default=True)
    return alias


def build_project_image(
    *, dockerfile: Path, context_dir: Path, target_tag: str, extra_tags: tuple[str, ...] = (),
    build_args: dict[str, str] | None = None, labels: dict[str, str] | None = None, no_cache: bool = False,
    pull_always: bool = False,
) -> None:  # fmt: skip
    """Run one ``podman build``; its command line is printed first. Raises :class:`BuildError`."""
    request: dict[str, typing.Any] = {
        "dockerfile": os.fspath(dockerfile),
        "context": os.fspath(context_dir),
        "tag": target_tag,
        "extra_tags": list(extra_tags),
        "build_args": list((build_args or {}).items()),
        "labels": list((labels or {}).items()),
        "no_cache": no_cache,
        "pull_always": pull_always,
    }
    _lib.images_build(request, sys.stdout)


def make_base_image(*, mirror: str | None = None, rebuild: bool = False) -> str:
    """Make :data:`BOOTSTRAP_IMAGE` from Debian's own packages, without an image registry, unless it is there.

    Needs ``mmdebstrap``; takes about a minute and 350 MB. ``mirror`` is another source of packages. Returns the tag.
    Raises :class:`BuildError`.
    """
    return _lib.images_make_base({"mirror": mirror, "rebuild": rebuild}, sys.stdout)


# -- what builds need from elsewhere --------------------------------------------------------------


def _selection(agents: str | tuple[str, ...]) -> str | list[str]:
    """A selection as the native side takes it; the roster's own rules decide what it means."""
    return agents if isinstance(agents, str) else list(agents)


def roster_catalog() -> dict[str, dict[str, typing.Any]]:
    """What each roster entry brings to an image, in roster order."""
    from terok_executor.roster import AgentRoster

    roster = AgentRoster.shared()
    installs, helps = roster.installs, roster.helps
    catalog: dict[str, dict[str, typing.Any]] = {}
    for name in sorted({*installs, *helps}):
        install, line = installs.get(name), helps.get(name)
        catalog[name] = {
            "installable": install is not None,
            "depends_on": list(install.depends_on) if install else [],
            "run_as_root": install.run_as_root if install else "",
            "run_as_dev": install.run_as_dev if install else "",
            "help_label": line.label if line else "",
            "help_section": line.section if line else "agent",
        }
    return catalog


def _trust(value: bool | str) -> str:
    """The setting as the native side takes it; ``"auto"`` leaves it to ``image.trust_host_ca``."""
    if value is True or value == "always":
        return "always"
    if value in (False, "never", "false", "off", "no"):
        return "never"
    from terok_executor import config

    return config.image_trust_host_ca()


def _env_versions() -> dict[str, str]:
    """Versions named in ``TEROK_IMAGE_VERSIONS``; a part without ``=`` is refused."""
    pairs: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in os.environ.get("TEROK_IMAGE_VERSIONS", "").split(","))):
        name, mark, version = part.partition("=")
        if not mark:
            raise BuildError(f"TEROK_IMAGE_VERSIONS: `{part}` is not of the form name=version")
        pairs[name.strip()] = version.strip()
    return pairs
