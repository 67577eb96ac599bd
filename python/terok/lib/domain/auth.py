"""Credentials of a project: which set and which mounts they go to, and asking for them."""

from __future__ import annotations

import sys
from pathlib import Path

from terok_executor.credentials.auth import Authenticator

__all__ = ["Authenticator", "authenticate", "find_host_auth_image", "resolve_credential_routing"]


def resolve_credential_routing(project_id: str | None) -> tuple[Path, str]:
    """Return the mounts directory and the name of the credential set; a project's own directory is made, 0700.

    Raises:
        SystemExit: unknown project, or its directory cannot be made.
    """
    from terok.lib.core import config, projects

    if project_id is not None:
        project = projects.load_project(project_id)
        if project.credentials_scope == "project":
            return _made_private(project.project_mounts_dir), project.credential_set
    return config.sandbox_live_mounts_dir(), "default"


def _made_private(mounts: Path) -> Path:
    try:
        mounts.mkdir(mode=0o700, parents=True, exist_ok=True)
        mounts.chmod(0o700)
    except OSError as error:
        raise SystemExit(
            f"cannot keep credentials in `{mounts}`: it cannot be made private: {error.strerror}"
        ) from error
    return mounts


def authenticate(provider: str, project_id: str | None = None) -> None:
    """Ask for a credential of *provider* and store it for the host, or for a project with a set of its own.

    Raises:
        SystemExit: unknown provider or project, nothing given, or a login that this version cannot do.
    """
    from terok.lib.core import config

    mounts, credential_set = resolve_credential_routing(project_id)
    if credential_set != "default":
        _warn_of_a_work_tree(mounts)
    Authenticator(provider).run(
        project_id,
        mounts_dir=mounts,
        image=f"{project_id}:l2-cli" if project_id else lambda: _host_image(provider),
        expose_token=provider in config.exposed_credential_providers(),
        oauth_enabled=config.is_oauth_enabled_for(provider),
        credential_set=credential_set,
    )


def _warn_of_a_work_tree(mounts: Path) -> None:
    """What agents leave in a versioned directory is one commit away from the whole world."""
    tree = next((folder for folder in mounts.parents if (folder / ".git").exists()), None)
    if tree is not None:
        print(
            f"warning: agents keep logins in `{mounts}`, which is part of the git work tree `{tree}`\n"
            "hint: add it to .gitignore",
            file=sys.stderr,
        )


def _base_image() -> str:
    from terok.lib.integrations import executor

    return executor.ExecutorConfigView.image_base_image() or executor.DEFAULT_BASE_IMAGE


def _host_image(provider: str) -> str:
    image = find_host_auth_image(provider)
    if image is None:
        raise SystemExit(
            f"no image on this host has `{provider}` to log in with\nhint: build one with `terok image build`"
        )
    return image


def find_host_auth_image(provider: str) -> str | None:
    """Return the image in which *provider* can log in, or ``None``; podman is asked, nothing is built."""
    from terok.lib.core import images
    from terok.lib.integrations import executor, sandbox

    builder = executor.ImageBuilder(_base_image())
    default, own = builder.l1_tag(), builder.l1_tag((provider,))
    if provider in images.installed_agents(default):
        return default
    if sandbox.PodmanRuntime().image(own).exists():
        return own
    entry = executor.AUTH_PROVIDERS.get(provider)
    return default if entry is None or not entry.supports_oauth else None
