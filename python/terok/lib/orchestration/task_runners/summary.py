"""What a headless run changed: noted in the container when it ends, read on the host.

The note lies where the container can write, so it is read without following links, up to a limit, and cleaned before
it is shown.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

# For annotations only: importing these here would cost every caller.
if TYPE_CHECKING:
    from terok.lib.core.project_model import ProjectConfig

FILE_NAME = "change-summary.txt"
_LIMIT = 65536
_COPY_LIMIT_S = 30
_INIT = "init-ssh-and-repo.sh && "
#: Git's name for a tree without files, for repositories that had no commit when the run began.
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_BEGIN = "{ terok_base=$(git -C /workspace rev-parse -q --verify HEAD 2>/dev/null); :; } && "
_END = f"""
terok_status=$?
terok_note=/home/dev/.terok/{FILE_NAME}
terok_empty={_EMPTY_TREE}
rm -f "$terok_note"
if git -C /workspace rev-parse --git-dir >/dev/null 2>&1; then
    {{
        git -C /workspace --no-pager diff --no-color --no-ext-diff --stat=100 "${{terok_base:-$terok_empty}}" --
        git -C /workspace ls-files --others --exclude-standard | head -n 100 | sed 's/^/ new file: /'
    }} 2>/dev/null | head -c 20000 >"$terok_note"
fi
exit "$terok_status"
"""


def recorded(command: str) -> str:
    """Return shell text that runs *command*, notes what changed in the workspace, and ends with its exit status."""
    if command.startswith(_INIT):
        command = _INIT + _BEGIN + command.removeprefix(_INIT)
    return command + _END


def read(project: ProjectConfig, task_id: str, mode: str) -> str | None:
    """Return the note of the last run: empty when nothing changed, ``None`` when there is none."""
    from terok_native import _lib

    from terok.lib.core.task_state import container_name
    from terok.lib.util.logging_utils import _log_debug

    try:
        if project.is_sealed:
            content = _from_container(container_name(project.id, mode, task_id))
        else:
            task_dir = Path(project.tasks_root) / task_id
            content = _lib.base_read_below(task_dir, f"agent-config/{FILE_NAME}", _LIMIT)
    except (OSError, ValueError, subprocess.SubprocessError, tarfile.TarError) as error:
        _log_debug(f"task {task_id} left no summary: {error}")
        return None
    lines = content.decode("utf-8", "replace").splitlines()
    return "\n".join(_lib.base_sanitize_tty(line) for line in lines)


def _from_container(cname: str) -> bytes:
    """The note of a container that shares no directory with the host."""
    from terok.lib.orchestration.tasks.meta import CONTAINER_TEROK_CONFIG

    argv = ["podman", "cp", f"{cname}:{CONTAINER_TEROK_CONFIG}/{FILE_NAME}", "-"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as copy:
        try:
            archive = _bounded(copy)
        finally:
            copy.kill()
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
        member = opened.next()
        file: Any = opened.extractfile(member) if member is not None and member.isreg() else None
        if file is None:
            raise ValueError("the summary is not a plain file")
        return file.read(_LIMIT)


def _bounded(copy: subprocess.Popen[bytes]) -> bytes:
    """What podman prints, up to the limit and the archive's own frame."""
    import select
    import time

    assert copy.stdout is not None
    deadline, found = time.monotonic() + _COPY_LIMIT_S, b""
    while len(found) < _LIMIT + 8192:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([copy.stdout], [], [], left)[0]:
            raise subprocess.TimeoutExpired(copy.args, _COPY_LIMIT_S)
        chunk = copy.stdout.read1(65536)  # type: ignore[attr-defined] # a BufferedReader
        if not chunk:
            return found
        found += chunk
    return found
