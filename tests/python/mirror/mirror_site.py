"""A project with an upstream, a mirror and somebody who pushes, all with the real git."""

import os
import subprocess
from pathlib import Path

from terok_sandbox import GitGate

_WHO = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Project:
    """Directories below one: ``upstream.git``, ``gate/proj.git``, ``cache/proj``, ``work``."""

    def __init__(self, base: Path) -> None:
        """Make an empty upstream and an empty working tree."""
        self.base = base
        self.upstream = base / "upstream.git"
        self.mirror = base / "gate" / "proj.git"
        self.work = base / "work"
        self.git(base, "init", "-q", "--bare", "--initial-branch=main", str(self.upstream))
        self.git(base, "init", "-q", "--initial-branch=main", str(self.work))

    def git(self, where: Path, *words: str, ok: bool = True) -> str:
        """Run git as a person would; its output, or its complaint when it may fail."""
        env = {**os.environ, **_WHO, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", "-C", str(where), *words], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0 or not ok, done.stderr
        return (done.stdout or done.stderr).strip()

    def commit(self, text: str, branch: str = "main", to: Path | None = None) -> str:
        """Commit a file on top of what the working tree has and push it; the commit."""
        (self.work / "file").write_text(text)
        self.git(self.work, "add", "-A")
        self.git(self.work, "commit", "-q", "-m", text)
        self.git(self.work, "push", "-q", str(to or self.upstream), f"HEAD:refs/heads/{branch}")
        return self.git(self.work, "rev-parse", "HEAD")

    def gate(self, **changes: object) -> GitGate:
        """The mirror's object; the upstream is given as a file's address."""
        wanted: dict[str, object] = {
            "scope": "proj",
            "gate_path": self.mirror,
            "upstream_url": f"file://{self.upstream}",
            "default_branch": "main",
        }
        return GitGate(**(wanted | changes))  # type: ignore[arg-type]

    def tip(self, name: str) -> str:
        """What a reference of the mirror points to."""
        return self.git(self.mirror, "rev-parse", "--verify", "-q", name, ok=False)
