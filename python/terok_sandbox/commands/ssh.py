"""Verbs about the SSH keys in the vault. The product's own scopes (``%…``) are neither listed nor changed here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.cli_types import ArgDef, CommandDef

from terok_sandbox.commands.arguments import flag

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.vault.store.db import CredentialDB, SSHKeyRow

#: A key and one scope that may use it.
Assignment = tuple[str, "SSHKeyRow"]

_PREFIX = "SHA256:"


@contextlib.contextmanager
def _vault(cfg: SandboxConfig | None) -> Iterator[CredentialDB]:
    """The open vault; what goes wrong inside ends as one line and status 1."""
    from terok_sandbox.config import SandboxConfig

    try:
        with (cfg or SandboxConfig()).open_credential_db(prompt_on_tty=True) as db:
            yield db
    except (RuntimeError, OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


def _refuse_reserved(scope: str | None) -> None:
    if scope is not None and scope.startswith("%"):
        raise SystemExit(f"scope `{scope}` is reserved for the product itself")


def _assignments(db: CredentialDB, scope: str | None = None) -> list[Assignment]:
    scopes = [name for name in db.list_scopes_with_ssh_keys() if not name.startswith("%")]
    wanted = scopes if scope is None else [name for name in scopes if name == scope]
    return [(name, row) for name in wanted for row in db.list_ssh_keys_for_scope(name)]


def _has_prefix(row: SSHKeyRow, prefix: str) -> bool:
    digits = row.fingerprint.removeprefix(_PREFIX)
    return bool(prefix.removeprefix(_PREFIX)) and digits.startswith(prefix.removeprefix(_PREFIX))


def _table(found: list[Assignment]) -> str:
    from terok_util import sanitize_tty

    rows = [("SCOPE", "ID", "TYPE", "FINGERPRINT", "COMMENT")]
    rows += [(scope, str(row.id), row.key_type, row.fingerprint, sanitize_tty(row.comment)) for scope, row in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]).rstrip()
        for row in rows
    )


def handle_ssh_list(*, scope: str | None = None, cfg: SandboxConfig | None = None) -> None:
    """Print the keys of one scope, or of all."""
    _refuse_reserved(scope)
    with _vault(cfg) as db:
        found = _assignments(db, scope)
    if not found and scope is not None:
        raise SystemExit(f"scope `{scope}` has no SSH key")
    print(_table(found) if found else "the vault has no SSH key")


def handle_ssh_import(
    *, scope: str, private_key: str, public_key: str | None = None, comment: str | None = None,
    cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Store a key pair from files; on a terminal the passphrase of the private key is asked for when it has one."""
    from terok_sandbox.vault.ssh.keypair import PasswordProtectedKeyError, import_ssh_keypair

    _refuse_reserved(scope)
    private = Path(private_key).expanduser()
    public = None if public_key is None else Path(public_key).expanduser()
    with _vault(cfg) as db:
        try:
            done = import_ssh_keypair(db, scope, private, public, comment)
        except PasswordProtectedKeyError:
            if sys.stdin is None or not sys.stdin.isatty():
                raise
            passphrase = _ask_passphrase(private)
            done = import_ssh_keypair(db, scope, private, public, comment, passphrase=passphrase)
    state = "was there already" if done.already_present else "stored"
    link = "had it already" if done.scope_was_assigned else "may use it now"
    print(f"key {done.key_id} {done.fingerprint}: {state}; scope `{scope}` {link}")


def _ask_passphrase(path: Path) -> str:
    import getpass

    try:
        return getpass.getpass(f"Passphrase of {path}: ")
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("no passphrase entered") from None


def handle_ssh_add(
    *, scope: str, key_type: str = "ed25519", comment: str | None = None, force: bool = False,
    cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Generate a key for a scope and print its public line."""
    from terok_sandbox.vault.ssh.manager import SSHManager

    _refuse_reserved(scope)
    with _vault(cfg) as db:
        made = SSHManager(scope=scope, db=db).init(key_type, comment, force)
    print(f"key {made['key_id']} {made['fingerprint']}", file=sys.stderr)
    print(made["public_line"])


def handle_ssh_export(
    *, scope: str, out_dir: str, key_id: int | None = None, out_name: str | None = None,
    cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Write a key of a scope to two new files."""
    from terok_sandbox.vault.ssh.keypair import export_ssh_keypair

    _refuse_reserved(scope)
    with _vault(cfg) as db:
        done = export_ssh_keypair(db, scope, Path(out_dir).expanduser(), key_id, out_name)
    print(f"private key: {done.private_path}\npublic key: {done.public_path}")


def handle_ssh_pub(
    *, scope: str, key_id: int | None = None, all_keys: bool = False, cfg: SandboxConfig | None = None
) -> None:
    """Print the public line of a scope's newest key, of one by its number, or of all."""
    from terok_sandbox.vault.ssh.keypair import public_line_of

    _refuse_reserved(scope)
    if key_id is not None and all_keys:
        raise SystemExit("--key-id and --all exclude each other")
    with _vault(cfg) as db:
        records = db.load_ssh_keys_for_scope(scope)
    wanted = records if all_keys else [r for r in records if key_id in (None, r.id)][-1:]
    if not wanted:
        missing = "SSH key" if key_id is None else f"key with the number {key_id}"
        raise SystemExit(f"scope `{scope}` has no {missing}")
    for record in wanted:
        print(public_line_of(record))


def handle_ssh_link(*, key_id: int, scope: str, cfg: SandboxConfig | None = None) -> None:
    """Let a further scope use a stored key."""
    _refuse_reserved(scope)
    with _vault(cfg) as db:
        row = next((row for _, row in _assignments(db) if row.id == key_id), None)
        if row is None:
            raise SystemExit(f"the vault has no key with the number {key_id}")
        db.assign_ssh_key(scope, key_id)
    print(f"scope `{scope}` may use key {key_id} {row.fingerprint}")


def handle_ssh_rename(*, fingerprint: str, comment: str, cfg: SandboxConfig | None = None) -> None:
    """Change the comment of the key whose fingerprint begins like this."""
    with _vault(cfg) as db:
        found = [(scope, row) for scope, row in _assignments(db) if _has_prefix(row, fingerprint)]
        fingerprints = {row.fingerprint for _, row in found}
        if len(fingerprints) > 1:
            print(_table(found), file=sys.stderr)
            raise SystemExit(f"`{fingerprint}` fits {len(fingerprints)} keys: give more of the fingerprint")
        if not fingerprints:
            raise SystemExit(f"no key has a fingerprint that begins with `{fingerprint}`")
        db.set_ssh_key_comment(fingerprints.pop(), comment)
    print("renamed")


def handle_ssh_remove(
    *, scope: str | None = None, comment: str | None = None, fingerprint: str | None = None, yes: bool = False,
    cfg: SandboxConfig | None = None,
) -> None:  # fmt: skip
    """Take keys from scopes; a key that no scope has any more is deleted."""
    _refuse_reserved(scope)
    filtered = not (scope is None and comment is None and fingerprint is None)
    if yes and not filtered:
        raise SystemExit("--yes needs a filter: --scope, --comment or --fingerprint")
    with _vault(cfg) as db:
        found = [
            (name, row)
            for name, row in _assignments(db, scope)
            if (comment is None or fnmatchcase(row.comment, comment))
            and (fingerprint is None or _has_prefix(row, fingerprint))
        ]
        if not found:
            raise SystemExit("no key fits" if filtered else "the vault has no SSH key")
        chosen = found if filtered else [_menu(found)]
        if not yes:
            _confirm(chosen)
        with db.transaction():
            for name, row in chosen:
                db.unassign_ssh_key(name, row.id)
    print(f"removed {len(chosen)}")


def _menu(found: list[Assignment]) -> Assignment:
    header, *lines = _table(found).splitlines()
    print(f"     {header}")
    for number, line in enumerate(lines, 1):
        print(f"{number:>3}  {line}")
    answer = _asked("Remove which one? ")
    if not answer.isdecimal() or not 1 <= int(answer) <= len(found):
        raise SystemExit("nothing was removed")
    return found[int(answer) - 1]


def _confirm(chosen: list[Assignment]) -> None:
    print(_table(chosen))
    if _asked(f"Remove {len(chosen)}? [y/N] ").lower() not in ("y", "yes"):
        raise SystemExit("nothing was removed")


def _asked(question: str) -> str:
    try:
        return input(question).strip()
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("nothing was removed") from None


_SCOPE = ArgDef(name="scope", help="Credential scope (a project's name)")
_KEY_ID = ArgDef(name="--key-id", type=int, help="Number of the key (default: the newest)")

#: The group ``ssh``.
SSH = CommandDef(
    name="ssh",
    help="SSH keys in the vault",
    children=(
        CommandDef(
            name="list",
            help="List keys and their scopes",
            handler=handle_ssh_list,
            args=(ArgDef(name="--scope", help="Only the keys of this scope"),),
        ),
        CommandDef(
            name="import",
            help="Store a key pair from files",
            handler=handle_ssh_import,
            args=(
                _SCOPE,
                ArgDef(name="--private-key", required=True, help="Private key file: OpenSSH, PKCS#1, SEC 1 or PKCS#8"),
                ArgDef(name="--public-key", help="Public key file, whose comment is taken over"),
                ArgDef(name="--comment", help="Comment of the stored key"),
            ),
        ),
        CommandDef(
            name="add",
            help="Generate a key for a scope",
            handler=handle_ssh_add,
            args=(
                _SCOPE,
                ArgDef(name="--key-type", default="ed25519", help="ed25519 (default) or rsa"),
                ArgDef(name="--comment", help="Make another key with this comment"),
                flag("--force", "Put a new key in place of all the scope has"),
            ),
        ),
        CommandDef(
            name="export",
            help="Write a key pair to files",
            handler=handle_ssh_export,
            args=(
                _SCOPE,
                ArgDef(name="--out-dir", required=True, help="Directory of the two files"),
                _KEY_ID,
                ArgDef(name="--out-name", help="Name of the private file (default: id_<type>_<8 hex digits>)"),
            ),
        ),
        CommandDef(
            name="pub",
            help="Print public keys",
            handler=handle_ssh_pub,
            args=(_SCOPE, _KEY_ID, flag("--all", "All of the scope", dest="all_keys")),
        ),
        CommandDef(
            name="link",
            help="Let a further scope use a key",
            handler=handle_ssh_link,
            args=(_SCOPE, ArgDef(name="--key-id", type=int, required=True, help="Number of the key")),
        ),
        CommandDef(
            name="rename",
            help="Change the comment of a key",
            handler=handle_ssh_rename,
            args=(
                ArgDef(name="fingerprint", help="Beginning of the fingerprint"),
                ArgDef(name="comment", help="The new comment"),
            ),
        ),
        CommandDef(
            name="remove",
            help="Take keys from scopes",
            handler=handle_ssh_remove,
            args=(
                ArgDef(name="--scope", help="Only this scope"),
                ArgDef(name="--comment", help="Only comments that fit this pattern (`*`, `?`)"),
                ArgDef(name="--fingerprint", help="Only fingerprints that begin like this"),
                flag("--yes", "Do not ask"),
            ),
        ),
    ),
)
