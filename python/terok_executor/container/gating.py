"""A repository by URL behind the git gate: its mirror on the host, the container's address of it, and what came back.

The mirror of a URL is ``<gate directory>/<key>.git``; the key is that of :func:`~.repository.repo_key`: the URL's last
part and a hash, so that two URLs never share a mirror. It is also the scope whose SSH keys the mirror uses; those keys
stay on the host. A gate token opens this one repository and ends with the container's supervisor.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terok_util.shell import command_line

from terok_executor.container.repository import repo_key

if TYPE_CHECKING:
    from terok_sandbox.config import SandboxConfig

#: Where a container finds the gate's socket.
CONTAINER_GATE_SOCKET = "/run/terok/gate-server.sock"
#: Variables that may hold the gate's address.
_ADDRESSES = ("CODE_REPO", "CLONE_FROM", "GATE_REMOTE_URL")
_GATE_URL = re.compile(r"https?://[^/@]+@[^/@]+/([A-Za-z0-9][A-Za-z0-9._-]*?)(?:\.git)?/?")


def mirror_path(cfg: SandboxConfig, url: str) -> Path:
    """Where the mirror of *url* lies."""
    return Path(cfg.gate_base_path) / f"{repo_key(url)}.git"


def sync(cfg: SandboxConfig, url: str) -> Path:
    """Create or update the mirror of *url* and its clone cache; return the mirror's path.

    Raises:
        SystemExit: the upstream cannot be read, or its SSH host wants a key and the mirror's scope has none.
    """
    from terok_executor.integrations import sandbox as catalogue

    key, path = repo_key(url), mirror_path(cfg, url)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    gate = catalogue.GitGate(
        scope=key, gate_path=path, upstream_url=url, clone_cache_base=Path(cfg.clone_cache_base_path),
        use_personal_ssh=catalogue.gate_use_personal_ssh_default(),
    )  # fmt: skip
    gate.progress = _progress()
    try:
        result = gate.sync()
    except catalogue.GateAuthNotConfigured as error:
        add = command_line("terok-executor", "sandbox", "ssh", "add", key)
        raise SystemExit(
            f"cannot mirror `{_shown(url)}`: no SSH key is kept for it\n"
            f"hint: make one with `{add}` and register its public line at the host,"
            " set `ssh: {use_personal: true}` in config.yml to use your own, or pass --no-gate"
        ) from error
    except (RuntimeError, SystemExit) as error:
        raise _failed(url, str(error)) from error
    finally:
        gate.close()
    if not result["success"]:
        raise _failed(url, "; ".join(result["errors"]) or "the reason is not known")
    return path


def _progress() -> Callable[[str], object] | None:
    """Git's own progress for people who watch; a first mirror may take minutes."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from terok_sandbox.gate.progress import terminal_progress

    return terminal_progress()


def _failed(url: str, why: str) -> SystemExit:
    ask = command_line("git", "ls-remote", _shown(url))
    return SystemExit(
        f"cannot mirror `{_shown(url)}` for the git gate: {why}\n"
        f"hint: check the URL and your access to it (`{ask}`), or pass --no-gate to let the container"
        " clone it by itself"
    )


def _shown(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def served_repository(env: Mapping[str, str]) -> str:
    """The repository, without ``.git``, that a container's environment addresses with its gate token; else empty."""
    token = env.get("TEROK_GATE_TOKEN", "")
    for name in _ADDRESSES:
        value = env.get(name, "")
        found = _GATE_URL.fullmatch(value)
        if token and found and f"//{token}@" in value:
            return found[1]
    return ""


@dataclass(frozen=True)
class Mirror:
    """A mirror as it was when a run began: branch names and their commits.

    A name that is not UTF-8 is text as of :func:`os.fsdecode`.
    """

    path: Path
    before: Mapping[str, str]

    @classmethod
    def seen(cls, path: Path) -> Mirror:
        """Remember the branches as they are now."""
        from terok_native import _lib

        return cls(path, _lib.mirror_branches(path))

    def pushed(self) -> Iterator[tuple[str, str]]:
        """Name and commit of every branch that has a new commit that is not the upstream's own."""
        from terok_native import _lib

        yield from _lib.mirror_pushed(self.path, dict(self.before)).items()

    def report(self) -> str:
        """Say what was pushed since, and how to look at it and take it; several lines, fit for a terminal."""
        from terok_native import _lib

        return _lib.mirror_report(self.path, dict(self.before))

    def announce(self) -> str:
        """Where pushes will arrive; one line."""
        look = command_line("git", "-C", self.path, "log", "--branches")
        return f"pushes arrive in `{self.path}`; look at them with: {look}"
