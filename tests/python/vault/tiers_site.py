"""An operator's account of its own: configuration, vault and runtime directories, and a terminal where one is needed."""

from __future__ import annotations

import functools
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from terok_sandbox.config import SandboxConfig
from terok_sandbox.vault.store.db import CredentialDB
from terok_util import paths

VARIABLES = (
    "TEROK_CONFIG_DIR", "TEROK_SANDBOX_CONFIG_DIR", "TEROK_SANDBOX_STATE_DIR", "TEROK_SANDBOX_RUNTIME_DIR",
    "TEROK_VAULT_DIR", "TEROK_CREDENTIALS_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip
OLD = "old passphrase"
CREDENTIAL = {"type": "api_key", "key": "sk-secret-value"}


@dataclass
class Account:
    """Where the operator's things are; :meth:`config` reads them as a new process would."""

    home: Path

    @property
    def file(self) -> Path:
        return self.home / "config.yml"

    @property
    def config(self) -> SandboxConfig:
        return SandboxConfig()

    def configure(self, text: str) -> None:
        self.file.write_text(text)

    def vault(self, passphrase: str = OLD) -> Path:
        """Make a vault with one credential and one token."""
        path = self.config.db_path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_vault(passphrase))
        return path

    def session(self, passphrase: str = OLD) -> Path:
        """Write the session's file."""
        path = self.config.vault_passphrase_file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{passphrase}\n")
        path.chmod(0o600)
        return path

    def run(self, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command line without a terminal; ``setsid`` takes away the one of whoever runs the tests."""
        argv = ["setsid", "-w", sys.executable, "-m", "terok_sandbox.cli", *words]
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=180, env=os.environ | env, check=False
        )

    def on_terminal(self, *words: str, answers: list[tuple[str, str]]) -> tuple[int, str]:
        """Run the command line on a terminal of its own; answer each awaited text; status and what was shown."""
        return on_terminal([sys.executable, "-m", "terok_sandbox.cli", *words], answers)


@functools.cache
def _vault(passphrase: str) -> bytes:
    """The file of a vault; made once, because deriving the key takes long on purpose."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "db")
        with CredentialDB(path, passphrase=passphrase) as db:
            db.store_credential("default", "claude", CREDENTIAL)
            db.create_token("project", "task", "default", "claude")
        return path.read_bytes()


#: In questions whose answer is not shown.
HIDDEN = ("assphrase", "make one", "Again")


def on_terminal(argv: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run a program on a terminal of its own; type each answer after its text has been shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        # Whoever started the tests may have had interrupts ignored, which is inherited.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp(argv[0], argv)
    shown, seen = b"", 0
    deadline = time.monotonic() + 180
    waiting = list(answers)
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            shown += piece
        if waiting and (at := shown.find(waiting[0][0].encode(), seen)) >= 0:
            seen = at + len(waiting[0][0].encode())
            question, answer = waiting.pop(0)
            if any(word in question for word in HIDDEN):
                # The terminal's settings change right after the question, and what was typed before is gone.
                while termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < deadline:
                    time.sleep(0.005)
            os.write(terminal, answer.encode())
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert not waiting, f"never asked for {waiting[0][0]!r}; shown: {shown.decode(errors='replace')!r}"
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """A fresh account; nothing of the real one is seen."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TEROK_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("TEROK_CONFIG_FILE", str(tmp_path / "config.yml"))
    monkeypatch.setenv("TEROK_SANDBOX_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    paths._reset_config_caches_for_tests()
    return Account(tmp_path)


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where one of the programs is not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
