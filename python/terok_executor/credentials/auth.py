"""Authentication by API key, and the table of entries one can authenticate with.

``AUTH_PROVIDERS`` is filled from the roster when it is first asked for; the dict is one object for the life of the
process. Browser logins are not part of this version.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from terok_native.kept import kept
from terok_util.shell import command_line

from terok_executor.credentials.oauth import AuthSession, prepare_oauth_session
from terok_executor.credentials.provider import AuthProvider

__all__ = [  # noqa: F822
    "AUTH_PROVIDERS",
    "AuthKeyConfig",
    "AuthProvider",
    "AuthSession",
    "Authenticator",
    "api_key_command",
    "authenticate",
    "prepare_oauth_session",
    "store_api_key",
]

for _moved in (AuthProvider, AuthSession, prepare_oauth_session):
    _moved.__module__ = __name__


@dataclasses.dataclass(frozen=True)
class AuthKeyConfig:
    """A key that is typed into a container's prompt and stored where the tool looks for it."""

    label: str
    key_url: str
    env_var: str
    config_path: str
    printf_template: str
    tool_name: str


def api_key_command(cfg: AuthKeyConfig) -> list[str]:
    """Return the command that asks for the key in a container; every value is quoted."""
    from terok_native import _lib

    return _lib.agents_api_key_command(
        cfg.label, cfg.key_url, cfg.env_var, cfg.config_path, cfg.printf_template, cfg.tool_name
    )


@kept
@dataclasses.dataclass(frozen=True)
class Authenticator:
    """Gets a credential for one entry; an unknown name is noticed when it is used."""

    provider: str

    def run(
        self, project_id: str | None, *, mounts_dir: Path, image: str | Callable[[], str] | None = None,
        expose_token: bool = False, oauth_enabled: bool = True, credential_set: str = "default",
    ) -> None:  # fmt: skip
        """Ask for an API key and store it; ``SystemExit`` when the entry has no key or none is given."""
        authenticate(
            project_id, self.provider, mounts_dir=mounts_dir, image=image, expose_token=expose_token,
            oauth_enabled=oauth_enabled, credential_set=credential_set,
        )  # fmt: skip

    def prepare_oauth(
        self, project_id: str | None, *, mounts_dir: Path, image: str, expose_token: bool = False,
        credential_set: str = "default",
    ) -> NoReturn:  # fmt: skip
        """Refuse: browser logins are not part of this version."""
        require_known(self.provider)
        raise _no_oauth(self.provider)


def _no_oauth(name: str) -> SystemExit:
    return SystemExit(
        f"cannot log in to {name} in a browser: that is not part of this version\n"
        f"hint: store an API key with `{command_line('terok-executor', 'auth', name, '--api-key', '-')}`"
    )


def require_known(name: str) -> AuthProvider:
    """Return how to authenticate with *name*; ``SystemExit`` with the known names when nobody can."""
    table: dict[str, AuthProvider] = sys.modules[__name__].AUTH_PROVIDERS
    if name not in table:
        raise SystemExit(f"Unknown auth provider {name!r}; known: {', '.join(sorted(table))}")
    return table[name]


def authenticate(
    project_id: str | None, provider: str, *, mounts_dir: Path, image: str | Callable[[], str] | None = None,
    expose_token: bool = False, oauth_enabled: bool = True, credential_set: str = "default",
) -> None:  # fmt: skip
    """Ask for an API key of *provider* and store it in the vault.

    Raises:
        SystemExit: unknown provider, one without API keys, or no key given.
    """
    entry = require_known(provider)
    if not entry.supports_api_key:
        raise _no_oauth(provider)
    store_api_key(provider, _ask_key(entry), credential_set)


def _ask_key(entry: AuthProvider) -> str:
    if entry.api_key_hint:
        print(entry.api_key_hint)
    question = f"API key of {entry.label}: "
    try:
        if _on_terminal():
            import getpass

            key = getpass.getpass(question)
        else:
            print(question, end="", flush=True)
            key = _piped_key(entry)
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("cancelled: nothing was stored") from None
    if not key.strip():
        raise SystemExit(f"no key was given for {entry.name}: nothing was stored")
    return key.strip()


def _piped_key(entry: AuthProvider) -> str:
    """The key from standard input. Where there are browser logins, scripts send the answer to a menu in front of it."""
    if sys.stdin is None:
        return ""
    line = sys.stdin.readline()
    if entry.supports_oauth and line.strip() == "1":
        raise _no_oauth(entry.name)
    return sys.stdin.readline() if entry.supports_oauth and line.strip() == "2" else line


def _may_ask() -> bool:
    """Whether a passphrase may be asked for: a terminal, and no event loop that a question would block."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _on_terminal()
    return False


def _on_terminal() -> bool:
    # There is no standard input at all where a caller closed it.
    return sys.stdin is not None and sys.stdin.isatty()


def store_api_key(provider: str, api_key: str, credential_set: str = "default") -> None:
    """Put a key into the vault, verbatim, in place of what was stored under ``(credential_set, provider)``.

    Raises:
        NoPassphraseError, WrongPassphraseError: the vault cannot be opened.
    """
    from terok_executor.integrations import sandbox as catalogue

    db = catalogue.SandboxConfig().open_credential_db(prompt_on_tty=_may_ask())
    try:
        db.store_credential(credential_set, provider, {"type": "api_key", "key": api_key})
    finally:
        db.close()
    print(f"API key of {provider} stored in credential set {credential_set!r}")


_TABLE: dict[str, AuthProvider] = {}


def __getattr__(name: str) -> Any:
    if name != "AUTH_PROVIDERS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from terok_executor.roster.bootstrap import ensure_filled

    ensure_filled()
    return globals().setdefault(name, _TABLE)
