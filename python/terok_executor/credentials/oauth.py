"""Browser logins: the names of a session in a container. This version stores API keys only, and refuses the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from terok_native.kept import kept
from terok_util.later import refuse

if TYPE_CHECKING:
    import tempfile

    from .provider import AuthProvider

_PART = "logging in through a browser"


@kept
@dataclass
class AuthSession:
    """A login that runs in a container: what to run, where it leaves what is captured afterwards."""

    provider: AuthProvider
    project_id: str | None
    container_name: str
    argv: list[str]
    auth_dir: Path
    mounts_dir: Path
    banner: str
    expose_token: bool = False
    credential_set: str = "default"
    _tmpdir: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)

    @property
    def title(self) -> str:
        """What a window of the session is called."""
        return f"auth:{self.provider.name}"

    def capture(self) -> None:
        """Refuse: see the module."""
        raise refuse(_PART)

    def cleanup(self) -> None:
        """Remove the session's temporary directory; may be called again."""
        held, self._tmpdir = self._tmpdir, None
        if held is not None:
            held.cleanup()

    def __enter__(self) -> AuthSession:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.cleanup()


def prepare_oauth_session(
    provider: AuthProvider, project_id: str | None, *, mounts_dir: Path, image: str, expose_token: bool = False,
    credential_set: str = "default",
) -> NoReturn:  # fmt: skip
    """Refuse: see the module."""
    raise refuse(_PART)
