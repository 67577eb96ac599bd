"""Runs verbs of the command line in processes that may be killed: forked, so that each begins without loading anything.

Standard input has one JSON object per line: `argv` and `input` of a verb, or `check` with the passphrases that may hold.
The answer to a verb is its number and, after a line `end` came in, how it ended; that to a check is what the vault holds.
"""

import contextlib
import json
import os
import sys
import tempfile

from terok_sandbox import SandboxConfig, cli
from terok_sandbox.commands import COMMANDS  # noqa: F401 - loaded once, for all
from terok_sandbox.vault.ssh import keypair, manager  # noqa: F401
from terok_sandbox.vault.store import change, db, encryption, prompt  # noqa: F401


def verb(argv: list[str], text: str, output: int) -> None:
    """Becomes the verb; never returns."""
    with tempfile.TemporaryFile("w+") as given:
        given.write(text)
        given.flush()
        os.lseek(given.fileno(), 0, os.SEEK_SET)
        os.dup2(given.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdin = os.fdopen(0, "r")
    status = 0
    try:
        cli.main(argv)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        status = 70
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def look() -> dict[str, object]:
    """Opens the vault as any command does: what it holds."""
    cfg = SandboxConfig()
    with cfg.open_credential_db() as vault:
        scopes = vault.list_scopes_with_ssh_keys()
        assigned = {row.id for scope in scopes for row in vault.list_ssh_keys_for_scope(scope)}
        loaded = [len(key.private_der) for scope in scopes for key in vault.load_ssh_keys_for_scope(scope)]
        return {
            "passphrase": cfg.resolve_passphrase(),
            "credentials": {name: vault.load_credential("default", name) for name in vault.list_credentials("default")},
            "keys": sorted(assigned),
            "scopes": sorted(scopes),
            "orphans": vault.count_ssh_keys() - len(assigned),
            "empty": loaded.count(0),
            "tokens": len(vault.list_tokens()),
        }


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("check"):
            try:
                print(json.dumps({"held": look()}), flush=True)
            except Exception as error:
                print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        with tempfile.TemporaryFile() as output:
            pid = os.fork()
            if pid == 0:
                verb(order["argv"], order["input"], output.fileno())
            print(pid, flush=True)
            sys.stdin.readline()
            _, status = os.waitpid(pid, 0)
            output.seek(0)
            said = output.read().decode(errors="replace")
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "said": said}), flush=True)


main()
