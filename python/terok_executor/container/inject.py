"""Files copied into a container that exists but does not share the host's directories."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

#: The agent-configuration directory in the container.
CONFIG_MOUNT = "/home/dev/.terok"


def _sandbox() -> Any:
    from terok_executor.integrations import sandbox as catalogue

    return catalogue.Sandbox()


def inject_prompt(container_name: str, prompt_text: str) -> None:
    """Write *prompt_text* verbatim (UTF-8) to ``/home/dev/.terok/prompt.txt`` of a stopped container."""
    with tempfile.TemporaryDirectory(prefix="terok-prompt-") as directory:
        path = Path(directory) / "prompt.txt"
        path.write_bytes(prompt_text.encode())
        _sandbox().copy_to(container_name, path, f"{CONFIG_MOUNT}/prompt.txt")


def inject_agent_config(container_name: str, config_dir: Path, *, sandbox: Any = None) -> None:
    """Copy a prepared configuration directory to ``/home/dev/.terok``, through *sandbox* or the default one."""
    (sandbox or _sandbox()).copy_to(container_name, config_dir, CONFIG_MOUNT)
