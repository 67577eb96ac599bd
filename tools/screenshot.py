#!/usr/bin/env python3
"""screenshot.py OUT.svg: a picture of the running TUI, with a project and tasks that are made for it and thrown away.

Needs the adopted front ends (`make adopt`), no container and no account: podman is shadowed by a stand-in that names
two containers, so that the picture shows what a day's work looks like.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import sys
import tempfile
from pathlib import Path

TASKS = ("fix-login-redirect", "faster-search", "translate-help")
PODMAN = """#!/bin/sh
case "$*" in
*" ps "*|ps*) [ -z "$RUNNING" ] || cat "$RUNNING" ;;
image*exists*) exit 0 ;;
*) exit 125 ;;
esac
"""


def furnish(root: Path) -> None:
    """Homes, a project with a mirror, tasks in three states."""
    home = root / "home"
    project = home / ".config/terok/projects/web-shop"
    project.mkdir(parents=True)
    (project / "project.yml").write_text(
        "project: {id: web-shop, security_class: gatekeeping}\n"
        "git: {upstream_url: 'git@git.example.org:shop/web-shop.git', default_branch: main}\n"
    )
    (home / ".config/terok/config.yml").write_text("credentials: {passphrase: thrown-away-with-the-folder}\n")
    (root / "bin").mkdir()
    (root / "bin/podman").write_text(PODMAN)
    (root / "bin/podman").chmod(0o755)
    os.environ |= {
        "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "TEROK_ROOT": str(home / ".local/share/terok"),
        "XDG_RUNTIME_DIR": str(root), "PATH": f"{root / 'bin'}:{os.environ['PATH']}", "USER": "you", "LOGNAME": "you",
        "RUNNING": str(root / "running"),
    }  # fmt: skip


def work() -> None:
    """A task that works, one that is done and one that waits."""
    from terok.lib.api import task_new
    from terok.lib.orchestration.tasks.meta import update_task_meta

    ready = {"ready_at": "2026-11-22T09:00:00+00:00", "unrestricted": True, "provider": "claude"}
    _, done, busy = (task_new("web-shop", name=name) for name in reversed(TASKS))
    update_task_meta("web-shop", done, {**ready, "mode": "run", "exit_code": 0})
    update_task_meta("web-shop", busy, {**ready, "mode": "cli"})
    states = {f"web-shop-cli-{busy}": "running", f"web-shop-run-{done}": "exited"}
    rows = [{"Names": [name], "State": state} for name, state in states.items()]
    Path(os.environ["RUNNING"]).write_text(json.dumps(rows))


async def picture(out: Path) -> None:
    from terok.tui.app import TerokTUI
    from terok_sandbox import SandboxConfig, setup_stamp

    setup_stamp.write_stamp()
    SandboxConfig().open_credential_db().close()
    socket.gethostname = platform.node = lambda: "workstation"
    app = TerokTUI()
    async with app.run_test(size=(110, 34)) as pilot:
        await pilot.pause(3)
        await pilot.press("escape", "tab")
        await pilot.pause(4)
        out.write_text(app.export_screenshot(title="terok-tui"))


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory(prefix="shot-") as folder:
        furnish(Path(folder))
        work()
        asyncio.run(picture(Path(sys.argv[1]).resolve()))


if __name__ == "__main__":
    main()
