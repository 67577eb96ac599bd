"""Arguments that several verbs take."""

from __future__ import annotations

from terok_util.cli_types import ArgDef


def flag(name: str, help: str, dest: str | None = None) -> ArgDef:
    """An option that is there or not."""
    return ArgDef(name=name, help=help, action="store_true", dest=dest)


#: Of verbs that may make a passphrase.
NEW_PASSPHRASE = (
    flag("--echo-passphrase", "Print a new passphrase on standard output"),
    ArgDef(name="--passphrase-tier", help="systemd-creds, keyring, session-file or config"),
)
#: Of verbs that install or remove hooks.
NO_SHIELD = flag("--no-shield", "Leave the firewall hooks alone")
