"""One run, worked out before anything happens: names, identifiers, labels, the command inside the container.

Everything here is pure, so that a wrong argument fails before an image is built or a directory is made.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from terok_util.shell import command_line

from terok_executor.container.context import GateGrant
from terok_executor.container.gating import Mirror
from terok_executor.container.listing import LABEL_MANAGED, MANAGED_BY

Mode: TypeAlias = Literal["headless", "interactive", "web", "tool"]

#: Scope of tokens and keys for runs that belong to no project.
STANDALONE_SCOPE = "standalone"

NAME_PREFIX = "terok-executor-"
WEB_PORT_IN_CONTAINER = 8080
#: Most processes and threads one container may have.
PIDS_LIMIT = 2048

_INIT = "init-ssh-and-repo.sh"


@dataclass(frozen=True)
class DirectoryRules:
    """How a run treats a directory of this host: overrides of refused mounts, and what may happen to its branches."""

    allowed: tuple[Path, ...] = ()
    branch_only: bool = False
    clone: bool = False


#: What holds unless the caller says otherwise.
NO_RULES = DirectoryRules()


@dataclass(frozen=True)
class RunPlan:
    """What one run is going to be.

    *run_id* is 12 lower-case hex digits. Behind the gate *code_repo* is the gate's address, token included.
    """

    mode: Mode
    run_id: str
    container: str
    code_repo: str | None
    local_repo: Path | None
    project_id: str
    task_id: str
    wants_gate: bool = True
    gate: GateGrant | None = None
    mirror: Mirror | None = None

    @property
    def scope(self) -> str:
        """Scope of the run's tokens."""
        return self.project_id or STANDALONE_SCOPE

    @property
    def subject(self) -> str:
        """Subject of the run's tokens: the caller's task, else the run itself."""
        return self.task_id or self.run_id

    @property
    def gate_token(self) -> str:
        """Token of the gate; empty without one."""
        return self.gate.token if self.gate else ""

    def gate_env(self) -> dict[str, str]:
        """The variables that make the gate reachable; none without one."""
        return {"TEROK_GATE_TOKEN": self.gate_token} if self.gate_token else {}

    def podman_args(self) -> list[str]:
        """Podman arguments that mark the container as ours and limit its processes."""
        return ["--label", f"{LABEL_MANAGED}={MANAGED_BY}", "--pids-limit", str(PIDS_LIMIT)]


def new_run_id() -> str:
    """Return 12 lower-case hex digits."""
    return uuid.uuid4().hex[:12]


def check_shared(shared_dir: Path | None, shared_mount: str) -> None:
    """Refuse a shared directory that cannot be mounted.

    Raises:
        SystemExit: *shared_mount* is no absolute container path, or *shared_dir* is a file.
    """
    if shared_dir is None:
        return
    if ":" in shared_mount or shared_mount[:1] != "/":
        raise SystemExit(
            f"cannot mount the shared directory at {shared_mount!r}: it must be an absolute path without ':'\n"
            "hint: use something like /shared"
        )
    if Path(shared_dir).is_file():
        raise SystemExit(f"cannot share `{shared_dir}`: it exists as a file\nhint: give a directory")


def check_positive(what: str, value: int | None) -> None:
    """Refuse a number below one.

    Raises:
        SystemExit: *value* is given and smaller than 1.
    """
    if value is not None and value < 1:
        raise SystemExit(f"{what} must be at least 1, not {value}")


def shell_command(text: str) -> list[str]:
    """Return the container's argv for one shell text; the login shell brings the agent functions."""
    return ["bash", "-lc", text]


def interactive_command() -> list[str]:
    """Prepare the workspace, report readiness, then stay up for ``podman exec``."""
    return shell_command(f"{_INIT} && echo __CLI_READY__; tail -f /dev/null")


def web_command(public_url: str) -> list[str]:
    """Serve the web front end behind its token gate; the gate's entry script prepares the workspace itself."""
    return shell_command(command_line("terok-toad-entry", "--public-url", public_url, "/workspace"))


def tool_command(tool: str, tool_args: tuple[str, ...], timeout: int, secrets: str = "") -> list[str]:
    """Prepare the workspace and run one tool, limited to *timeout* seconds; *secrets* is the text that exports them."""
    steps = [_INIT, secrets, command_line("timeout", int(timeout), tool, *tool_args)]
    return shell_command(" && ".join(filter(None, steps)))


def detect_timezone(explicit: str | None) -> str | None:
    """Return the given zone, else the host's, else ``None``."""
    if explicit:
        return explicit
    from terok_executor._util import detect_host_timezone

    return detect_host_timezone()


def truthy(**values: Any) -> dict[str, Any]:
    """Return the keyword arguments that have a value."""
    return {key: value for key, value in values.items() if value}
