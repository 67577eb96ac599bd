"""The sandbox's verbs, as one tree."""

from __future__ import annotations

from terok_util.cli_types import ArgDef, CommandDef, CommandTree

from terok_sandbox.commands.arguments import NEW_PASSPHRASE, NO_SHIELD, flag
from terok_sandbox.commands.credentials import CREDENTIALS
from terok_sandbox.commands.gate import GATE
from terok_sandbox.commands.passphrase import (
    handle_passphrase_acknowledge,
    handle_passphrase_change,
    handle_passphrase_destroy,
    handle_passphrase_reveal,
)
from terok_sandbox.commands.setup import _handle_sandbox_setup, _handle_sandbox_uninstall
from terok_sandbox.commands.ssh import SSH
from terok_sandbox.commands.vault import (
    handle_vault_list,
    handle_vault_lock,
    handle_vault_seal,
    handle_vault_to_keyring,
    handle_vault_unlock,
)
from terok_sandbox.commands.wiring import (
    handle_cleanup,
    handle_doctor,
    handle_prepare,
    handle_run,
    handle_supervisor,
)

__all__ = ["COMMANDS", "_handle_sandbox_setup", "_handle_sandbox_uninstall"]

_CONTAINER = ArgDef(name="container", help="Container name")
_WIRING = (
    _CONTAINER,
    flag("--no-shield", "Leave the network options to yourself"),
    flag("--no-gate", "Leave the git gate out"),
    flag("--no-broker", "Leave the token broker out"),
    ArgDef(name="--scope", help="Credential scope of the container; without one there is no broker"),
    ArgDef(name="--profiles", help="Firewall profiles for this container, separated by commas"),
)

_KEYS = "What it is sealed to: auto, host, tpm or tpm+host (default: auto)"
_PASSPHRASE = CommandDef(
    name="passphrase",
    help="Move, show, change and destroy the vault's passphrase",
    children=(
        CommandDef(
            name="seal",
            help="Seal it for this user with systemd-creds",
            handler=handle_vault_seal,
            args=(ArgDef(name="--key", default="auto", help=_KEYS),),
        ),
        CommandDef(name="to-keyring", help="Move it to the desktop's keyring", handler=handle_vault_to_keyring),
        CommandDef(
            name="reveal",
            help="Show it on the terminal, to keep a copy off this host",
            handler=handle_passphrase_reveal,
            args=(flag("--allow-redirect", "Print it on standard output instead"),),
        ),
        CommandDef(
            name="acknowledge",
            help="Note that a copy is kept off this host",
            handler=handle_passphrase_acknowledge,
        ),
        CommandDef(name="destroy", help="Remove it from every tier", handler=handle_passphrase_destroy),
        CommandDef(
            name="change",
            help="Give the vault a new passphrase, and every tier that has a copy",
            handler=handle_passphrase_change,
            args=(flag("--echo-passphrase", "Make one and print it"),),
        ),
    ),
)

#: Root verbs in the order callers know.
COMMANDS = CommandTree(
    (
        CommandDef(
            name="setup",
            help="Install the hooks and provision the vault",
            handler=_handle_sandbox_setup,
            args=(NO_SHIELD, flag("--no-vault", "Leave the vault alone"), *NEW_PASSPHRASE),
        ),
        CommandDef(
            name="uninstall",
            help="Remove the hooks; vault and state stay",
            handler=_handle_sandbox_uninstall,
            args=(NO_SHIELD,),
        ),
        GATE,
        CommandDef(
            name="vault",
            help="Unlock, lock and list the vault",
            children=(
                CommandDef(name="unlock", help="Keep the passphrase for this session", handler=handle_vault_unlock),
                CommandDef(name="lock", help="Forget this session's passphrase", handler=handle_vault_lock),
                CommandDef(
                    name="list",
                    help="List what is stored, secrets masked",
                    handler=handle_vault_list,
                    args=(
                        flag("--include-tokens", "List the phantom tokens as well"),
                        flag("--json", "Print JSON", dest="as_json"),
                    ),
                ),
                _PASSPHRASE,
            ),
        ),
        SSH,
        CREDENTIALS,
        CommandDef(
            name="prepare",
            help="Print the podman options that wire a container",
            handler=handle_prepare,
            args=(*_WIRING, flag("--json", "Print a JSON array")),
        ),
        CommandDef(
            name="run",
            help="Run a wired container: run NAME [options] -- [podman options] IMAGE [command]",
            handler=handle_run,
            args=_WIRING,
        ),
        CommandDef(
            name="cleanup",
            help="Remove what wiring a container left on the host",
            handler=handle_cleanup,
            args=(_CONTAINER,),
        ),
        CommandDef(name="doctor", help="Check this host", handler=handle_doctor, extras={"exit_status": True}),
        CommandDef(
            name="supervisor",
            help="Supervise one container (called by the hook)",
            handler=handle_supervisor,
            args=(
                ArgDef(name="container_id", help="Full container identifier"),
                ArgDef(name="sidecar_path", help="Its sidecar"),
            ),
            extras={"exit_status": True},
        ),
    )
)
