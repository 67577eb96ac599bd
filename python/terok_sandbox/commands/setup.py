"""Set-up and removal of what the sandbox installs on the host.

The passphrase tier is decided before anything is changed; one failing phase does not stop the later ones; the stamp is
written only after complete success.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terok_sandbox._stage import stage_line

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

_TIERS = ("session-file", "config")
_LATER_TIERS = ("systemd-creds", "keyring")


def _handle_sandbox_setup(
    *, no_shield: bool = False, no_vault: bool = False, echo_passphrase: bool = False,
    passphrase_tier: str | None = None, cfg: SandboxConfig | None = None, **_older: Any,
) -> None:  # fmt: skip
    """Install the hooks and provision the vault.

    Raises:
        SystemExit: with a text before any change (bad tier), with status 1 when a phase failed.
    """
    from terok_sandbox.config import SandboxConfig

    cfg = cfg or SandboxConfig()
    tier = None if no_vault else _choose_tier(cfg, passphrase_tier)
    _report_prerequisites()
    failed = not _phase("Supervisor hooks", _install_hooks)
    if not no_vault:
        failed |= not _phase("Credential vault", lambda: _provision_vault(cfg, tier, echo_passphrase))
    if failed:
        raise SystemExit(1)
    from terok_sandbox.setup_stamp import stamp_path, write_stamp

    write_stamp()
    print(f"set-up complete ({stamp_path()})")


def _phase(label: str, action: Any) -> bool:
    """Run one phase behind a status line; every way out of it but success is a failure of this phase alone."""
    try:
        with stage_line(label) as line:
            line.ok(action())
    except (Exception, SystemExit):
        return False
    return True


def _choose_tier(cfg: SandboxConfig, wanted: str | None) -> str | None:
    """The tier that will hold a new passphrase; ``None`` when the vault can be opened already."""
    if wanted is not None and wanted not in _TIERS:
        note = " (not part of this version)" if wanted in _LATER_TIERS else ""
        raise SystemExit(f"cannot use passphrase tier {wanted!r}{note}\nhint: choose one of {', '.join(_TIERS)}")
    if cfg.resolve_passphrase() is not None:
        return None
    if wanted is not None:
        return wanted
    if sys.stdin is not None and sys.stdin.isatty():
        answer = input("Keep the vault passphrase for this login session only (s) or in config.yml (c)? [s] ")
        return "config" if answer.strip().lower() in ("c", "config") else "session-file"
    raise SystemExit(
        "cannot provision the vault: no passphrase is available and there is no terminal to ask on\n"
        f"hint: pass --passphrase-tier with one of {', '.join(_TIERS)}"
    )


def _report_prerequisites() -> None:
    from terok_sandbox import prerequisites

    print("Prerequisites:")
    for label, check in prerequisites.checks():
        with stage_line(label) as line:
            severity, detail = check()
            getattr(line, severity)(detail)


def _install_hooks() -> str:
    from terok_sandbox.supervisor.install import install_supervisor_hooks

    install_supervisor_hooks()
    return "installed"


def _provision_vault(cfg: SandboxConfig, tier: str | None, echo: bool) -> str:
    """Make sure that the vault exists and opens; a new passphrase is stored before the vault is made with it."""
    from terok_sandbox.vault.store.db import CredentialDB
    from terok_sandbox.vault.store.encryption import generate_passphrase

    if tier is None:
        cfg.open_credential_db().close()
        return "opens"
    if cfg.db_path.exists() and cfg.db_path.stat().st_size > 0:
        raise RuntimeError(
            f"the vault `{cfg.db_path}` exists but no passphrase is available; run `terok-sandbox vault unlock`"
        )
    passphrase = generate_passphrase()
    _store_passphrase(cfg, tier, passphrase)
    # Not through the configuration at hand: it was read before the passphrase was stored.
    CredentialDB(cfg.db_path, passphrase=passphrase).close()
    _show_passphrase(passphrase, echo)
    return f"passphrase in {tier}"


def _store_passphrase(cfg: SandboxConfig, tier: str, passphrase: str) -> None:
    from terok_native import _lib

    if tier == "session-file":
        _lib.vault_write_session_file(cfg.vault_passphrase_file, passphrase)
        return
    from terok_util import config_file_paths

    from terok_sandbox._yaml import yaml_update_section

    yaml_update_section(Path(config_file_paths()[-1][1]), "credentials", {"passphrase": passphrase})


def _show_passphrase(passphrase: str, echo: bool) -> None:
    """Show a new passphrase once, on the controlling terminal; on standard output only when asked to."""
    text = f"vault passphrase (keep a copy off this host): {passphrase}\n"
    if echo:
        sys.stdout.write(text)
        return
    try:
        with open("/dev/tty", "w", encoding="utf-8") as terminal:
            terminal.write(text)
    except OSError:
        pass  # no terminal: the passphrase stays readable in the tier that holds it


def _handle_sandbox_uninstall(*, no_shield: bool = False, cfg: SandboxConfig | None = None, **_older: Any) -> None:
    """Remove the hooks and the stamp; vault, configuration and state stay.

    Raises:
        SystemExit: status 1 when the hooks could not be removed.
    """
    from terok_sandbox.setup_stamp import clear_stamp
    from terok_sandbox.supervisor.install import uninstall_supervisor_hooks

    def remove() -> str:
        uninstall_supervisor_hooks()
        return "removed"

    done = _phase("Supervisor hooks", remove)
    if clear_stamp():
        print("set-up stamp removed")
    if not done:
        raise SystemExit(1)
