"""The adopted TUI in a real terminal (tmux), and in a browser's place: what starts, what is on the screen."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_site import until
from front_site import Front
from host.ports import free_port

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


class Terminal:
    """A tmux server of its own; `screen` is what a person sees."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", str(self._socket), *words], capture_output=True, text=True, timeout=60)
        return done.stdout

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def see(self, *texts: str, limit: float = 180) -> str:
        def shown() -> bool:
            now = self.screen()
            return all(text in now for text in texts)

        try:
            until(shown, f"{texts} in the terminal", limit)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen()}") from None
        return self.screen()

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)


@pytest.fixture
def terminal(front: Front) -> Iterator[Terminal]:
    made = Terminal(front.site.root / "tmux")
    yield made
    made.tmux("kill-server")


def test_the_tui_runs_in_a_terminal_and_logs_into_a_task(front: Front, project: str, terminal: Terminal) -> None:
    front.terok("task", "run", project, "--name", "at-work", "--no-attach", shown=False)
    task, _ = front.task(project, "at-work")
    terminal.tmux("new-session", "-d", "-x", "120", "-y", "45", "-e", f"PATH={os.environ['PATH']}", "terok-tui")
    terminal.see("Projects", project, "at-work", "Vault: unlocked")
    terminal.press("Tab")
    # The newest task is the first of the list, wherever the cursor is; a list that is being filled again loses keys.
    until(lambda: chosen(terminal, f"terok login {project} {task}", "🟢 running"), "the task under the cursor", 180)
    keep("tasks", terminal.screen())
    terminal.press("l")
    terminal.see("$", f"{project}-cli-{task}")
    terminal.press("echo in-$TASK_ID", "Enter")
    terminal.see(f"in-{task}")
    keep("login", terminal.screen())
    terminal.press("exit", "Enter")
    terminal.see("Projects", "at-work")
    terminal.press("q")
    until(lambda: "Projects" not in terminal.screen(), "the end of the TUI")
    front.terok("task", "delete", project, task, shown=False)


def test_bare_terok_in_a_terminal_is_the_tui(front: Front, project: str, terminal: Terminal) -> None:
    terminal.tmux("new-session", "-d", "-x", "100", "-y", "40", "-e", f"PATH={os.environ['PATH']}", "terok")
    terminal.see("Projects", project)


def test_the_web_server_starts_and_answers_who_has_the_password(front: Front) -> None:
    port = free_port()
    command = ["terok-web", "--host", "127.0.0.1", "--port", str(port)]
    said = front.site.root / "web.log"
    with said.open("w") as log, subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as server:  # fmt: skip
        try:
            found = until(lambda: re.search(r"Password: (\S+)", said.read_text()), "a password from terok-web")
            status, _ = until(lambda: fetched(port), "an answer from terok-web")
            assert status == 401
            status, page = fetched(port, f"terok:{found[1]}") or (0, "")
            assert status == 200 and "<html" in page
        finally:
            server.terminate()


def chosen(terminal: Terminal, *texts: str) -> bool:
    """Whether going up has led to the entry with these details."""
    terminal.press("Up", "Up", "Up")
    with contextlib.suppress(AssertionError):
        return bool(terminal.see("Log in:", *texts, limit=5))
    return False


def fetched(port: int, who: str = "") -> tuple[int, str] | None:
    """Status and text of the front page; nothing when nobody listens yet."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/")
    if who:
        asked.add_header("Authorization", f"Basic {base64.b64encode(who.encode()).decode()}")
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return None


def keep(name: str, screen: str) -> None:
    """Keep a picture of the screen where whoever runs the tests wants to have it."""
    if folder := os.environ.get("TEROK_SCREENS"):
        Path(folder, f"{name}.txt").write_text(screen)
