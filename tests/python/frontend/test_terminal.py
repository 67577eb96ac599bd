"""The adopted TUI in a real terminal (tmux), and in a browser's place: what starts, what is on the screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_site import free_port, until
from front_site import Front

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


class Terminal:
    """A tmux server of its own; `screen` is what a person sees."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", str(self._socket), *words], capture_output=True, text=True, timeout=20)
        return done.stdout

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def see(self, *texts: str, limit: float = 60) -> str:
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
    terminal.see("Log in:", f"terok login {project} {task}", "🟢 running")
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


def test_the_web_server_starts_and_answers(front: Front) -> None:
    port = free_port()
    command = ["terok-web", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:

            def page() -> str:
                assert server.poll() is None, server.stdout.read() if server.stdout else ""
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                        return answer.read().decode()
                except OSError:
                    return ""

            assert "<html" in until(page, "a page from terok-web")
        finally:
            server.terminate()


def keep(name: str, screen: str) -> None:
    """Keep a picture of the screen where whoever runs the tests wants to have it."""
    if folder := os.environ.get("TEROK_SCREENS"):
        Path(folder, f"{name}.txt").write_text(screen)
