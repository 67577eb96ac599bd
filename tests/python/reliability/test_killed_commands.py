"""Commands that change the vault are killed at any moment: it opens, and holds what it held or what was asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from campaign import Figures, dice
from tenant import Tenant
from test_killed_supervisor import kill

KILLS = 130
FILL = """
with cfg.open_credential_db() as db:
    for number in range(12):
        db.store_credential("default", f"p{number}", {"type": "api_key", "key": f"k{number}", "extra": [number]})
        db.create_token("proj", f"t{number}", "default", f"p{number}")
tell(True)
"""


@dataclass
class Verbs:
    """Commands of one user, each in a process of its own."""

    process: subprocess.Popen[str]

    @classmethod
    def of(cls, tenant: Tenant) -> Verbs:
        argv = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        pipe = subprocess.PIPE
        return cls(
            subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=tenant.environment(), cwd=tenant.folder)
        )

    def order(self, **what: object) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def run(self, argv: list[str], text: str = "", after: float | None = None) -> tuple[int, str, float]:
        """Runs a verb, killed `after` so many seconds: its status (-9 when killed), its words, how long it lived."""
        began = time.monotonic()
        pid = int(self.order(argv=argv, input=text))
        if after is not None:
            time.sleep(after)
            kill(pid)
        ended = json.loads(self.order(end=True))
        return ended["status"], ended["said"], time.monotonic() - began

    def look(self) -> dict[str, Any]:
        said = json.loads(self.order(check=True))
        assert "held" in said, said
        return said["held"]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def choice(rolls: Random, number: int, key: Path) -> tuple[str, list[str], str]:
    """The kind of a verb, its words, and what it reads."""
    return rolls.choices(
        [
            ("passphrase change", ["vault", "passphrase", "change"], f"pass-{number}\n"),
            ("ssh add", ["ssh", "add", "proj", "--comment", f"c{number}"], ""),
            ("ssh import", ["ssh", "import", f"s{number}", "--private-key", str(key)], ""),
            ("ssh remove", ["ssh", "remove", "--scope", "proj", "--yes"], ""),
            ("vault revoke", ["vault", "revoke", "proj", f"t{number % 12}"], ""),
        ],
        [8, 6, 3, 2, 3],
    )[0]


def test_killed_commands_leave_a_whole_vault(tenant: Tenant, figures: Figures) -> None:
    tenant.tell(FILL)
    key = tenant.folder / "id"
    tenant.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    verbs, rolls = Verbs.of(tenant), dice("commands")
    held, usual, kills, number = verbs.look(), {}, 0, 0
    passphrases = {held["passphrase"]}
    while kills < KILLS:
        number += 1
        kind, argv, text = choice(rolls, number, key)
        if kind == "ssh remove" and "proj" not in held["scopes"]:
            # Every key was removed, and none was added since: there is nothing to remove.
            continue
        if kind not in usual:
            status, said, usual[kind] = verbs.run(argv, text)
            assert status == 0, said
            passphrases |= {text.strip()}
        else:
            status, said, _ = verbs.run(argv, text, rolls.uniform(0, usual[kind]))
            passphrases |= {text.strip()}
            if status == -9:
                kills += 1
            else:
                # It was quicker than the kill.
                usual[kind] *= 0.9
                assert status == 0, f"{kind}: {said}"
        began = time.monotonic()
        now = verbs.look()
        if status == -9:
            figures.note(f"command: {kind}", time.monotonic() - began)
        judge(kind, held, now, passphrases)
        held = now
    # A change of the passphrase that was interrupted is finished by the next, and then that passphrase holds.
    for text in ("last-but-one\n", "last\n"):
        status, said, _ = verbs.run(["vault", "passphrase", "change"], text)
        assert status == 0, said
    assert verbs.look()["passphrase"] == "last"
    print(f"commands: {kills} killed of {number}")
    verbs.close()


def judge(kind: str, before: dict[str, Any], now: dict[str, Any], passphrases: set[str]) -> None:
    assert now["credentials"] == before["credentials"], f"{kind}: a credential changed"
    assert (now["orphans"], now["empty"]) == (0, 0), f"{kind}: a key without a scope, or half a key"
    assert now["passphrase"] in passphrases
    gone, new = set(before["keys"]) - set(now["keys"]), set(now["keys"]) - set(before["keys"])
    assert kind == "ssh remove" or not gone, f"{kind}: keys {gone} are gone"
    assert len(new) <= (kind in ("ssh add", "ssh import")), f"{kind}: {new}"
    assert now["tokens"] == before["tokens"] or (kind == "vault revoke" and now["tokens"] == before["tokens"] - 1)
