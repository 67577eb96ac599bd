"""The executor's part of the configuration, read and written without the pydantic models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_IMAGE_KEYS = {"base_image", "family", "agents", "user_snippet_inline", "user_snippet_file", "trust_host_ca"}
_TRUST = {"auto": "auto", "always": "always", "never": "never", "true": "always", "false": "never"}


def writable_config_path() -> Path:
    """Return ``$TEROK_CONFIG_FILE``, else ``config.yml`` in the configuration directory of the family."""
    from terok_native import _lib

    return _lib.base_config_writable_file()


def image_agents() -> str | None:
    """Return ``image.agents`` of the merged configuration as text, or ``None``; a list is joined by commas."""
    return _image_text("agents")


def image_base_image() -> str | None:
    """Return ``image.base_image`` of the merged configuration, or ``None``; no default is applied."""
    return _image_text("base_image")


def image_trust_host_ca() -> str:
    """Return ``image.trust_host_ca`` of the merged configuration: ``auto`` (also when unset), ``always`` or ``never``.

    YAML's true and false mean ``always`` and ``never``. Raises ``ValueError`` for anything else: a wish about trust is
    not guessed.
    """
    from terok_native import _lib
    from terok_util import paths

    value = _lib.base_config_section("image", paths._is_root()).get("trust_host_ca")
    chosen = _TRUST.get("auto" if value is None else str(value).strip().lower())
    if chosen is None:
        raise ValueError(f"cannot use `image.trust_host_ca: {value}`: it is one of auto, always, never")
    return chosen


def exposed_credential_providers() -> frozenset[str]:
    """Return the providers whose real login the configuration gives to containers; a literal ``true`` alone counts."""
    from terok_native import _lib
    from terok_util import paths

    if not _lib.base_setting_experimental():
        return frozenset()
    agents = _lib.base_config_section("agent", paths._is_root())
    chosen = {name: agents.get(name) for name in ("claude", "codex")}
    return frozenset(
        name for name, of in chosen.items() if isinstance(of, dict) and of.get("expose_oauth_token") is True
    )


def set_image_agents(selection: str) -> Path:
    """Write ``image.agents`` into the writable ``config.yml``, leaving the rest as it is; return that file.

    The selection is written as given. Raises ``ValueError`` when the file is not one mapping.
    """
    from terok_sandbox._yaml import yaml_update_section

    path = writable_config_path()
    yaml_update_section(path, "image", {"agents": selection})
    return path


def _image_text(key: str) -> str | None:
    """One member of the merged section ``image``; a section with unknown members counts as absent."""
    from terok_native import _lib
    from terok_util import paths

    section = _lib.base_config_section("image", paths._is_root())
    if set(section) - _IMAGE_KEYS:
        return None
    return _as_text(section.get(key)) or None


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return "" if value is None or isinstance(value, (bool, dict)) else str(value)
