"""Set-up and removal of what the sandbox installs on the host.

The passphrase tier is decided before anything is changed; one failing phase does not stop the later ones; the stamp is
written only after complete success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from terok_util.older import also_takes

from terok_sandbox._stage import stage_line

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig


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
    failed |= not _phase("Older services", lambda: _sweep(cfg))
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
    """The tier that will hold a new passphrase; ``None`` when there is a vault already, or it can be opened."""
    from terok_sandbox.commands import provisioning

    provisioning.check(wanted)
    if _has_vault(cfg) or provisioning.existing(cfg) is not None:
        return None
    return wanted or provisioning.choose()


def _has_vault(cfg: SandboxConfig) -> bool:
    return cfg.db_path.exists() and cfg.db_path.stat().st_size > 0


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


def _sweep(cfg: SandboxConfig) -> str:
    """Services of an older generation must not come back beside the supervisors."""
    from terok_sandbox.older_services import sweep_leftovers

    gone = sweep_leftovers(cfg)
    return f"removed {', '.join(gone)}" if gone else "none"


def _provision_vault(cfg: SandboxConfig, tier: str | None, echo: bool) -> str:
    """Make sure that the vault exists; a new passphrase is stored, and can be read back, before the vault is made."""
    from terok_sandbox.commands import provisioning
    from terok_sandbox.vault.store.db import CredentialDB
    from terok_sandbox.vault.store.encryption import NoPassphraseError, generate_passphrase

    if tier is None:
        try:
            cfg.open_credential_db().close()
        except NoPassphraseError:
            return "locked; `terok-sandbox vault unlock` opens it"
        return "opens"
    passphrase = generate_passphrase()
    provisioning.store(cfg, tier, passphrase)
    # Not through the configuration at hand: it was read before the passphrase was stored.
    CredentialDB(cfg.db_path, passphrase=passphrase).close()
    provisioning.show(passphrase, echo)
    return f"passphrase in {tier}"


@also_takes("root", "no_vault", "no_gate", "no_clearance")
def _handle_sandbox_uninstall(*, no_shield: bool = False, cfg: SandboxConfig | None = None) -> None:
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
