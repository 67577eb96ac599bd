"""Credentials of a project: which set and which mounts they go to, and asking for them."""

from __future__ import annotations

from pathlib import Path

from terok_executor.credentials.auth import Authenticator

__all__ = ["Authenticator", "authenticate", "find_host_auth_image", "resolve_credential_routing"]


def resolve_credential_routing(project_id: str | None) -> tuple[Path, str]:
    """Return the mounts directory and the name of the credential set; a project's own directory is made, 0700."""
    from terok.lib.core import config, projects

    if project_id is not None:
        project = projects.load_project(project_id)
        if project.credentials_scope == "project":
            mounts = project.project_mounts_dir
            mounts.mkdir(mode=0o700, parents=True, exist_ok=True)
            mounts.chmod(0o700)
            return mounts, project.credential_set
    return config.sandbox_live_mounts_dir(), "default"


def authenticate(provider: str, project_id: str | None = None) -> None:
    """Ask for a credential of *provider* and store it for the host, or for a project with a set of its own.

    Raises:
        SystemExit: unknown provider or project, nothing given, or a login that this version cannot do.
    """
    from terok.lib.core import config

    mounts, credential_set = resolve_credential_routing(project_id)
    Authenticator(provider).run(
        project_id,
        mounts_dir=mounts,
        image=f"{project_id}:l2-cli" if project_id else lambda: _host_image(provider),
        expose_token=provider in config.exposed_credential_providers(),
        oauth_enabled=config.is_oauth_enabled_for(provider),
        credential_set=credential_set,
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
