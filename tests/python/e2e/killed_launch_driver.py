"""Launches Claude and kills itself right after the named step. Arguments: step, base image, repository."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def _killing(step: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> None:
        step(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return run


def main() -> None:
    wanted, base, repository = sys.argv[1:]
    from terok_executor import AgentRunner
    from terok_executor.container import launching
    from terok_sandbox import launch
    from terok_sandbox.sandbox import Sandbox

    steps: dict[str, tuple[Any, str]] = {
        "journal": (launch, "begin"),
        "resources": (launch, "allocate_per_container_resources"),
        "temp folder noted": (launch, "note_temp_dir"),
        "token noted": (launch, "note_token"),
        "agent configuration": (AgentRunner, "_agent_config"),
        "environment and tokens": (AgentRunner, "_agent_environment"),
        "sidecar": (launching, "_write_sidecar"),
        "container running": (Sandbox, "run"),
        "journal closed": (launch, "finish"),
    }
    if wanted != "none":
        owner, name = steps[wanted]
        setattr(owner, name, _killing(getattr(owner, name)))
    runner = AgentRunner(base_image=base, family="deb")
    runner.run_interactive("claude", repository)


main()
