"""SSH towards an upstream with the vault's keys alone: an agent of our own, no key files, no configuration, no prompts.

Host keys are pinned at first use, in a file beside the mirrors.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
import threading
import typing
import weakref
from collections.abc import Callable
from pathlib import Path

from terok_sandbox.gate.mirror import GateAuthNotConfigured


class ScopeIdentity:
    """The agent of one scope, started when it is needed first."""

    def __init__(self, scope: str, gate_base: Path) -> None:
        """Remember whose keys are meant; nothing is started."""
        self._scope = scope
        self._gate_base = gate_base
        self._lock = threading.Lock()
        self._environment: dict[str, str] | None = None
        self._stop: weakref.finalize[typing.Any, typing.Any] | None = None

    def environment(self) -> dict[str, str]:
        """Return the variables that make git use this identity and no other.

        Raises:
            GateAuthNotConfigured: the vault cannot be opened without asking, or has no key for the scope.
            RuntimeError: the agent's socket cannot be bound.
        """
        with self._lock:
            if self._environment is None:
                self._environment = self._start()
            return self._environment

    def close(self) -> None:
        """Stop the agent and remove its socket."""
        with self._lock:
            self._environment = None
            stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    def _start(self) -> dict[str, str]:
        known_hosts = pinned_hosts(self._gate_base)
        vault = self._open_vault()
        folder = Path(tempfile.mkdtemp(prefix="terok-gate-signer-"))
        try:
            agent = _serve(vault, self._scope, folder / "agent.sock")
        except BaseException:
            _quietly(vault.close)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._stop = weakref.finalize(self, _stop_agent, agent, vault, folder)
        return ssh_variables(folder / "agent.sock", known_hosts)

    def _open_vault(self) -> typing.Any:
        """The open vault, which has a key for the scope."""
        from terok_sandbox.config import SandboxConfig

        vault = None
        try:
            vault = SandboxConfig().open_credential_db(prompt_on_tty=False)
            if vault.list_ssh_keys_for_scope(self._scope):
                return vault
            problem: BaseException | None = None
        except (Exception, SystemExit) as raised:
            problem = raised
        if vault is not None:
            _quietly(vault.close)
        raise GateAuthNotConfigured(self._scope) from problem


def _quietly(action: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        action()


def _stop_agent(agent: typing.Any, vault: typing.Any, folder: Path) -> None:
    _quietly(agent.stop)
    _quietly(vault.close)
    shutil.rmtree(folder, ignore_errors=True)


def _serve(vault: typing.Any, scope: str, path: Path) -> typing.Any:
    from terok_native import _lib

    try:
        return _lib.signer_serve(vault._store, scope, path, 0)
    except Exception as problem:
        raise RuntimeError(f"the SSH agent of scope {scope!r} failed to bind its socket") from problem


def ssh_variables(agent: Path, known_hosts: Path) -> dict[str, str]:
    """Return the variables of an SSH that knows one agent and one file of host keys.

    ``IdentitiesOnly`` stays unset: with it, and without key files, no key of the agent would be offered.
    """
    options = [
        f"IdentityAgent={_word(agent)}",
        "IdentityFile=none",
        "BatchMode=yes",
        "StrictHostKeyChecking=accept-new",
        f"UserKnownHostsFile={_word(known_hosts)}",
    ]
    command = ["ssh", "-F", "/dev/null", *(word for option in options for word in ("-o", option))]
    return {"SSH_AUTH_SOCK": str(agent), "GIT_SSH_COMMAND": shlex.join(command)}


def _word(path: Path) -> str:
    """A path as one word of an SSH option, where percent signs and blanks mean something."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if any(sign.isspace() for sign in text) else text


def pinned_hosts(gate_base: Path) -> Path:
    """Return the file of host keys beside the mirrors; it is made, empty and private, when it is missing.

    Raises:
        OSError: it cannot be made, or something else than a file has its name.
    """
    gate_base.mkdir(parents=True, exist_ok=True)
    path = gate_base / ".known_hosts"
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    os.close(os.open(path, flags, 0o600))
    return path
