"""The sandbox's verbs, as one tree."""

from __future__ import annotations

from terok_util.cli_types import ArgDef, CommandDef, CommandTree

from terok_sandbox.commands.setup import _handle_sandbox_setup, _handle_sandbox_uninstall
from terok_sandbox.commands.vault import handle_vault_list, handle_vault_lock, handle_vault_unlock

__all__ = ["COMMANDS", "_handle_sandbox_setup", "_handle_sandbox_uninstall"]

#: Root verbs in the order callers know.
COMMANDS = CommandTree(
    (
        CommandDef(
            name="setup",
            help="Install the hooks and provision the vault",
            handler=_handle_sandbox_setup,
            args=(
                ArgDef(name="--no-shield", action="store_true", help="Leave the firewall hooks alone"),
                ArgDef(name="--no-vault", action="store_true", help="Leave the vault alone"),
                ArgDef(name="--echo-passphrase", action="store_true", help="Print a new passphrase on standard output"),
                ArgDef(name="--passphrase-tier", help="Where the passphrase is kept: session-file or config"),
            ),
        ),
        CommandDef(
            name="uninstall",
            help="Remove the hooks; vault and state stay",
            handler=_handle_sandbox_uninstall,
            args=(ArgDef(name="--no-shield", action="store_true", help="Leave the firewall hooks alone"),),
        ),
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
                        ArgDef(name="--include-tokens", action="store_true", help="List the phantom tokens as well"),
                        ArgDef(name="--json", action="store_true", dest="as_json", help="Print JSON"),
                    ),
                ),
            ),
        ),
    )
)
