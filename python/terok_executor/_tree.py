"""The command trees: the executor's own verbs, with the sandbox's verbs mounted below them.

The ``vault`` group stands at two places but is one object, so that replacing a handler once is seen at both.
"""

from __future__ import annotations

from terok_sandbox.commands import COMMANDS as SANDBOX_TREE
from terok_util.cli_types import CommandDef, CommandTree

from terok_executor._outline import VERBS
from terok_executor.commands import COMMANDS as AGENT_COMMANDS
from terok_executor.credentials.vault_verbs import VAULT_EXTENSION

_sandbox = CommandTree(tuple(SANDBOX_TREE)).extend_at(("vault",), VAULT_EXTENSION)

#: The extended vault group, as a tuple of one node.
VAULT_COMMANDS: tuple[CommandDef, ...] = (_sandbox.find_at(("vault",)),)

#: Everything: the executor's verbs, the sandbox group, and the vault group as a shortcut.
COMMANDS = CommandTree(
    (
        *AGENT_COMMANDS,
        CommandDef(name="sandbox", help=VERBS["sandbox"], children=tuple(_sandbox.roots)),
        *VAULT_COMMANDS,
    )
)
