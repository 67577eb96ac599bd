"""The predecessor itself (terok 0.8.0, installed into an environment of its own) and we open each other's vaults.

It is used as a black box: its public names are called in its own interpreter, and what it prints is compared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from terok_sandbox.vault.ssh import keypair
from terok_sandbox.vault.ssh.manager import SSHManager
from terok_sandbox.vault.store.db import CredentialDB

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("agent-client-protocol==0.10.1", "asyncvarlink==0.3.1", "terok==0.8.0")

READ = """
import base64, json, sys
from pathlib import Path
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.ssh import keypair
db = CredentialDB(Path(sys.argv[1]), passphrase=sys.argv[2])
print(json.dumps({
    "sets": {s: {p: db.load_credential(s, p) for p in db.list_credentials(s)} for s in db.list_credential_sets()},
    "tokens": db.list_tokens(),
    "keys": {name: [[r.key_type, base64.b64encode(r.private_der).decode(), base64.b64encode(r.public_blob).decode(),
                     r.comment, r.fingerprint] for r in db.load_ssh_keys_for_scope(name)]
             for name in db.list_scopes_with_ssh_keys()},
}))
"""
WRITE = """
import sys
from pathlib import Path
from terok_sandbox import SSHManager, ensure_infra_keypair
from terok_sandbox.vault.store.db import CredentialDB
db = CredentialDB(Path(sys.argv[1]), passphrase=sys.argv[2])
db.store_credential("default", "claude", {"type": "oauth", "refresh_token": "r", "extra": {"a": [1, None, "ä"]}})
db.create_token("p", "t", "default", "claude")
SSHManager(scope="p", db=db).init()
SSHManager(scope="p", db=db).init("rsa", "second")
ensure_infra_keypair("%host", db=db)
"""
EXPORT = """
import sys
from pathlib import Path
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.ssh import keypair
db = CredentialDB(Path(sys.argv[1]), passphrase=sys.argv[2])
for record in db.load_ssh_keys_for_scope("p"):
    try:
        print(keypair.export_ssh_keypair(db, "p", Path(sys.argv[3]), record.id).private_path)
    except Exception as error:
        print("refused", type(error).__name__)
"""


def _interpreter() -> str | None:
    names = ("python3.12", "python3.13", "python3.14")
    found = [path for name in names if (path := shutil.which(name))]
    found += [str(p) for p in sorted((Path.home() / ".pyenv/versions").glob("3.1[2-9]*/bin/python3"))]
    for path in found:
        if subprocess.run([path, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 12))"]).returncode == 0:
            return path
    return None


@pytest.fixture(scope="session")
def predecessor():
    """Run a program with the predecessor's interpreter; its standard output."""
    cache = Path(os.environ.get("TEROK_TEST_CACHE", ROOT / ".cache")) / "predecessor-0.8.0"
    python = cache / "venv/bin/python"
    if not (cache / "complete").exists():
        interpreter = _interpreter()
        if interpreter is None:
            pytest.skip("needs Python 3.12 or newer for terok 0.8.0")
        shutil.rmtree(cache, ignore_errors=True)
        subprocess.run([interpreter, "-m", "venv", cache / "venv"], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"terok 0.8.0 cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        (cache / "complete").touch()

    def run(program: str, *arguments: object) -> str:
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        argv = [str(python), "-c", program, *map(str, arguments)]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def ours(path, word):
    import base64

    def text(data):
        return base64.b64encode(data).decode()

    with CredentialDB(path, passphrase=word) as db:
        return {
            "sets": {s: {p: db.load_credential(s, p) for p in db.list_credentials(s)} for s in db.list_credential_sets()},
            "tokens": db.list_tokens(),
            "keys": {
                name: [
                    [r.key_type, text(r.private_der), text(r.public_blob), r.comment, r.fingerprint]
                    for r in db.load_ssh_keys_for_scope(name)
                ]
                for name in db.list_scopes_with_ssh_keys()
            },
        }


WORD = "it's a \"päss\" phrase; --"


def test_we_read_what_the_predecessor_wrote(predecessor, tmp_path):
    path = tmp_path / "credentials.db"
    predecessor(WRITE, path, WORD)
    assert ours(path, WORD) == json.loads(predecessor(READ, path, WORD))
    with CredentialDB(path, passphrase=WORD) as db:
        for record in db.load_ssh_keys_for_scope("p"):
            out = keypair.export_ssh_keypair(db, "p", tmp_path / "out", record.id)
            shown = subprocess.run(["ssh-keygen", "-y", "-f", out.private_path], capture_output=True, text=True)
            assert shown.stdout.split()[:2] == keypair.public_line_of(record).split()[:2]
        SSHManager(scope="q", db=db).init()
    assert "q" in json.loads(predecessor(READ, path, WORD))["keys"]


def test_the_predecessor_reads_what_we_wrote(predecessor, tmp_path):
    path = tmp_path / "credentials.db"
    with CredentialDB(path, passphrase="first") as db:
        db.store_credential("default", "gh", {"type": "oauth_token", "token": "t", "extra": [1, "ä"]})
        db.replace_tokens("p", "t", [("default", "gh"), ("p", "ssh")])
        SSHManager(scope="p", db=db).init()
        SSHManager(scope="p", db=db).init("rsa", "second")
        keypair.ensure_infra_keypair("%host", db=db)
        db.change_passphrase(WORD)
    assert json.loads(predecessor(READ, path, WORD)) == ours(path, WORD)
    for private in predecessor(EXPORT, path, WORD, tmp_path / "out").split():
        shown = subprocess.run(["ssh-keygen", "-y", "-f", private], capture_output=True, text=True)
        assert shown.stdout.split()[:2] == Path(f"{private}.pub").read_text().split()[:2]


def test_an_ecdsa_key_does_not_shut_the_predecessor_out(predecessor, tmp_path):
    path, key = tmp_path / "credentials.db", tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key], check=True)
    with CredentialDB(path, passphrase=WORD) as db:
        SSHManager(scope="p", db=db).init()
        keypair.import_ssh_keypair(db, "p", key)
    assert json.loads(predecessor(READ, path, WORD)) == ours(path, WORD)
    predecessor(WRITE, path, WORD)
    assert len(ours(path, WORD)["keys"]["p"]) == 3


def test_their_recovery_marker_and_session_file_are_ours(predecessor, tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom terok_sandbox import SandboxConfig, RecoveryStatus\n"
        "cfg = SandboxConfig(vault_dir=Path(sys.argv[1]), runtime_dir=Path(sys.argv[2]))\n"
        "RecoveryStatus.acknowledge(cfg)\nprint(RecoveryStatus.is_acknowledged(cfg), cfg.resolve_passphrase())\n"
    )
    from terok_sandbox.config import SandboxConfig
    from terok_sandbox.vault.store.recovery import RecoveryStatus

    cfg = SandboxConfig(vault_dir=tmp_path / "vault", runtime_dir=tmp_path / "run")
    cfg.vault_passphrase_file.parent.mkdir(parents=True)
    cfg.vault_passphrase_file.write_text(f"{WORD}\n")
    assert not RecoveryStatus.is_acknowledged(cfg)
    assert predecessor(program, cfg.vault_dir, cfg.runtime_dir).strip() == f"True {WORD}"
    assert RecoveryStatus.is_acknowledged(cfg)
    assert cfg.vault_recovery_marker_file.stat().st_size == 0
    assert cfg.resolve_passphrase() == WORD


def test_nothing_of_one_vault_opens_another(tmp_path):
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    with CredentialDB(one, passphrase="a") as first, CredentialDB(two, passphrase="b") as second:
        token = first.create_token("p", "t", "default", "gh")
        key = SSHManager(scope="p", db=first).init()
        assert second.lookup_token(token) is None
        assert second.get_ssh_key_by_fingerprint(key["fingerprint"]) is None
        other = SSHManager(scope="q", db=first).init()
        assert [row.id for row in first.list_ssh_keys_for_scope("p")] == [key["key_id"]]
        assert [row.id for row in first.list_ssh_keys_for_scope("q")] == [other["key_id"]]
        first.create_token("q", "t", "default", "gh")
        assert first.revoke_tokens("q", "t") == 1
        assert first.lookup_token(token) is not None, "the same task name in another project"
    assert one.read_bytes()[:16] != two.read_bytes()[:16]
