"""The verbs at the root of the command line with their one-line descriptions, and nothing that costs time to load.

Asking for help, and verbs without arguments, need no more than this; the tree in :mod:`terok_executor._tree` takes its
descriptions from here.
"""

VERBS = {
    "run": "Run one agent in a hardened container",
    "run-tool": "Run one tool in a container of its own",
    "auth": "Authenticate an agent",
    "agents": "List agents and choose the default ones",
    "build": "Build the base and agent images",
    "setup": "Prepare this host for running agents",
    "uninstall": "Remove images and hooks, keep all data",
    "list": "List running containers",
    "logs": "Print what a container wrote",
    "stop": "Stop and remove one container of ours",
    "show-config": "Print the configuration that is in force",
    "acp": "Serve the agents of one container over ACP",
    "sandbox": "Commands of the sandbox layer",
    "vault": "Unlock, lock and list the vault",
}
