"""Verbs of the passphrase itself: reveal, acknowledge, change, destroy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from terok_sandbox.commands.vault import _FAILURES, _config, tested_passphrase

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_SAVED = "SAVED"
_DESTROY = "DESTROY"


def handle_passphrase_reveal(*, allow_redirect: bool = False, cfg: SandboxConfig | None = None) -> None:
    """Show the passphrase on the terminal and ask whether a copy was saved.

    With *allow_redirect* the passphrase, and nothing else, goes to standard output.

    Raises:
        SystemExit: no passphrase, or no terminal to show it on.
    """
    from terok_sandbox.vault.store import prompt
    from terok_sandbox.vault.store.recovery import RecoveryStatus

    cfg = _config(cfg)
    try:
        passphrase, source = cfg.resolve_passphrase_with_source()
    except _FAILURES as error:
        raise SystemExit(str(error)) from error
    if not passphrase:
        raise SystemExit("no passphrase is available\nhint: unlock the vault with `terok-sandbox vault unlock`")
    if allow_redirect:
        print(passphrase)
        print(
            f"from {source}; once a copy is off this host: terok-sandbox vault passphrase acknowledge", file=sys.stderr
        )
        return
    if not prompt.show(f"vault passphrase (from {source}): {passphrase}\n"):
        raise SystemExit(
            "the passphrase is shown on a terminal only, and there is none\n"
            "hint: --allow-redirect prints it on standard output"
        )
    if prompt.ask_word(f"Keep a copy off this host, then type {_SAVED}: ") == _SAVED:
        RecoveryStatus.acknowledge(cfg)
        print("recovery key acknowledged")
    else:
        print("not acknowledged", file=sys.stderr)


def handle_passphrase_acknowledge(*, cfg: SandboxConfig | None = None) -> None:
    """Note that a copy of the passphrase is kept off this host; works while the vault is locked.

    Raises:
        SystemExit: the note cannot be written.
    """
    from terok_sandbox.vault.store.recovery import RecoveryStatus

    try:
        RecoveryStatus.acknowledge(_config(cfg))
    except OSError as error:
        raise SystemExit(f"cannot note it: {error}") from error
    print("recovery key acknowledged")


def handle_passphrase_change(*, echo_passphrase: bool = False, cfg: SandboxConfig | None = None) -> None:
    """Give the vault a new passphrase and replace every copy of the old one; finishes a change that was interrupted.

    On a terminal the new one is asked for twice, and an empty one is made; otherwise it is one line of standard input.

    Raises:
        SystemExit: no or a wrong passphrase, a copy that cannot be replaced, or a busy or damaged vault.
    """
    from terok_sandbox.vault.store import change, prompt
    from terok_sandbox.vault.store.encryption import prompt_passphrase

    cfg = _config(cfg)
    if not cfg.db_path.exists():
        raise SystemExit(f"there is no vault at `{cfg.db_path}`")
    try:
        if change.is_interrupted(cfg.db_path) and (done := _finish(cfg)) is not None:
            print(f"finished a change that was interrupted; the new passphrase is in: {_listed(done)}")
            return
        old, _ = tested_passphrase(cfg, prompt_on_tty=True)
        change.copies(cfg)  # refuses before anybody has to think of a passphrase
        new = prompt.mint(echo=True) if echo_passphrase else prompt_passphrase(confirm=True)
        done = change.change(cfg, old, new)
    except _FAILURES as error:
        raise SystemExit(f"cannot change the passphrase: {error}") from error
    print(f"passphrase changed; copies replaced: {_listed(done)}")
    print("the copy that you keep off this host is the old one: replace it as well", file=sys.stderr)


def _finish(cfg: SandboxConfig) -> list[str] | None:
    from terok_sandbox.vault.store import change

    passphrase = cfg.resolve_passphrase(prompt_on_tty=True)
    return change.finish(cfg, passphrase) if passphrase else None


def _listed(labels: list[str]) -> str:
    return ", ".join(labels) or "none (it is asked for)"


def handle_passphrase_destroy(*, cfg: SandboxConfig | None = None) -> None:
    """Remove the passphrase from every tier of this user; without a copy elsewhere the vault is lost.

    On a terminal, a passphrase that was never acknowledged as saved is destroyed only after a word. Everything is
    tried; running supervisors drop the vault.

    Raises:
        SystemExit: the word was not given, or a copy remains.
    """
    from terok_sandbox.vault.store.recovery import RecoveryStatus

    cfg = _config(cfg)
    if not RecoveryStatus.is_acknowledged(cfg) and not _meant():
        raise SystemExit("nothing was destroyed")
    remains = _destroy(cfg)
    if remains:
        raise SystemExit("a copy of the passphrase remains:\n" + "\n".join(f"  {text}" for text in remains))
    print("the passphrase is destroyed on this host")


def _meant() -> bool:
    from terok_sandbox.vault.store import prompt

    if sys.stdin is None or not sys.stdin.isatty():
        return True
    question = f"No copy was acknowledged; the vault may be lost for good. Type {_DESTROY} to go on: "
    return prompt.ask_word(question) == _DESTROY


def _destroy(cfg: SandboxConfig) -> list[str]:
    """Remove every copy; what could not be removed, in words."""
    from terok_native import _lib
    from terok_util import config_file_paths

    from terok_sandbox._yaml import yaml_update_section
    from terok_sandbox.paths import plaintext_passphrase_config_path
    from terok_sandbox.vault.store import encryption

    def keyring() -> None:
        found = encryption.load_passphrase_from_keyring() is not None
        if found and not encryption.forget_passphrase_in_keyring():
            raise RuntimeError("the keyring does not remove its entry")

    def configuration() -> None:
        path = Path(config_file_paths()[-1][1])
        if path.exists():
            yaml_update_section(path, "credentials", {"passphrase": None, "passphrase_command": None})
        if left := plaintext_passphrase_config_path():
            raise RuntimeError(f"`{left}` has it in plain text")

    remains = []
    for step in (
        lambda: _lib.passphrase_forget_session_file(cfg.vault_passphrase_file),
        keyring,
        configuration,
        lambda: _lib.passphrase_forget_sealed(cfg.vault_systemd_creds_file),
        lambda: _lib.passphrase_handover_forget(cfg.db_path),
        lambda: cfg.vault_recovery_marker_file.unlink(missing_ok=True),
    ):
        try:
            step()
        except _FAILURES as error:
            remains.append(str(error))
    _lib.supervisor_tell_all(True, cfg.state_dir)
    return remains
