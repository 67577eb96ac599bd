"""What the tests of the front ends share: commands and their transcript, terminals, projects.

Invariants: every command that is shown to readers runs through `terok`, so that the transcript is what was tested.
Names and places that differ between runs are replaced in it and nowhere else.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

from e2e_site import Site, until
from fixtures.real_image import AGENTS

PROGRAM = str(Path(sys.executable).parent)
#: Reads a note and changes it; the second turn is the follow-up.
SCRIPT = {
    "steps": [
        {"tool": "read", "path": "note.txt"},
        {"tool": "edit", "path": "note.txt", "old": "old line", "new": "new line"},
        {"say": "The note is new now."},
        {"say": "Nothing is left to do."},
    ],
    "side": "A note",
}


class Front:
    """An account in front of the adopted programs."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._said: list[str] = []
        os.environ["PATH"] = f"{PROGRAM}{os.pathsep}{os.environ['PATH']}"
        os.environ["TERM"] = "xterm-256color"
        self.upstream = site.repository()
        self.terok("agents", "set", ",".join(AGENTS))

    # -- commands ------------------------------------------------------------------------------------------------------

    def terok(self, *arguments: str, status: int = 0, shown: bool = True, timeout: float = 300, **options) -> str:
        """Run `terok` without a terminal; its whole output. Fails unless it ends with *status*."""
        return self.command("terok", *arguments, status=status, shown=shown, timeout=timeout, **options)

    def command(self, *words: str, status: int = 0, shown: bool = True, timeout: float = 300, **options) -> str:
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False, **options
        )
        assert done.returncode == status, f"`{shlex.join(words)}` ended with {done.returncode}:\n{done.stdout}"
        if shown:
            self._said.append(f"$ {shlex.join(words)}\n{_readable(done.stdout)}")
        return done.stdout

    def on_terminal(self, *words: str, typed: str, timeout: float = 180) -> str:
        """Run a command on a terminal of its own, type a line, and return what the terminal got until it ended."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
            os.close(theirs)
            said = bytearray()
            until(lambda: _more(ours, said) and said.rstrip().endswith(b"$"), f"a prompt from {words}", timeout)
            os.write(ours, f"{typed}\n".encode())
            while _more(ours, said):
                pass
            os.close(ours)
            process.wait(timeout)
        return said.decode(errors="replace")

    def task(self, project: str, name: str) -> tuple[str, str]:
        """Identifier and status of the task of that name, as `terok task list` tells them."""
        listed = self.terok("task", "list", project, shown=False)
        found = re.search(rf"^- (\w+): {re.escape(name)} (\w+)", listed, re.M)
        assert found, f"no task {name} in:\n{listed}"
        return found[1], found[2]

    # -- projects ------------------------------------------------------------------------------------------------------

    def by_wizard(self, project: str) -> str:
        """Create a project through the wizard, put our base image into its file by the user's editor, set it up."""
        editor = self.site.root / "editor"
        editor.write_text(f'#!/bin/sh\nexec sed -i \'s|base_image:.*|base_image: "{self.site.base}"|\' "$1"\n')
        editor.chmod(0o755)
        answers = ["2", "4", project, str(self.upstream), "main", "", "1", "", "y", "y", ""]
        said = self.terok(
            "project", "wizard", input="\n".join(answers), timeout=900, env={**os.environ, "EDITOR": str(editor)}
        )
        assert f"Project {project} is ready." in said, said
        return project

    def transcript(self) -> str:
        """What was shown, with the account's own names for what differs between runs."""
        text = "\n".join(self._said)
        for what, word in (
            (str(self.upstream), "~/code/notes.git"),
            (str(self.site.state), "~/.local/share/terok"),
            (str(self.site.home), "~"),
            (PROGRAM, "~/venv/bin"),
        ):
            text = text.replace(what, word)
        return text


def _readable(said: str) -> str:
    """Without colours, and without what podman itself is told and tells while it builds and starts."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", said)
    said = re.sub(
        r"(?ms)^\$ podman (?:build|run) .*?(?=^(?:>>|==>|Successfully|Container|Changes|Project|\Z))", "", said
    )
    return "".join(
        line for line in said.splitlines(keepends=True) if not re.match(r"(STEP |-->|COMMIT |[0-9a-f]{64}$)", line)
    )


def _more(terminal: int, said: bytearray) -> bool:
    try:
        got = os.read(terminal, 65536)
    except OSError:  # how a terminal says that nobody is left at the other end
        return False
    said += got
    return bool(got)
