"""No process of the host works inside a directory that a container may have filled."""

from pathlib import Path

#: Name of the workspaces that containers write and the host must not run anything in.
WORKSPACE_DANGEROUS_DIRNAME = "workspace-dangerous"
#: Name of the directory that the tasks of a project share.
SHARED_DIRNAME = "_shared"


def is_in_dangerous_workspace(path: str | Path) -> bool:
    """Tell whether *path* is, or lies in, such a workspace, links followed."""
    return WORKSPACE_DANGEROUS_DIRNAME in Path(path).resolve().parts


def assert_not_in_dangerous_workspace(cmd: list[str], cwd: str | Path | None = None) -> None:
    """Raise ``RuntimeError`` if *cmd* would run in such a workspace or names something in one."""
    start = Path.cwd() if cwd is None else Path(cwd)
    if is_in_dangerous_workspace(start):
        raise RuntimeError(f"refusing to run {cmd[:1]} in a container's workspace: {start}")
    for word in cmd:
        # Options may carry a path in the same word, as in `--file=x` or `-Cx`.
        tails = (word, word.partition("=")[2], word[2:] if word.startswith("-") else "")
        if any(tail and is_in_dangerous_workspace(start / tail) for tail in tails):
            raise RuntimeError(f"refusing to run {cmd[:1]} on a container's workspace: {word}")
