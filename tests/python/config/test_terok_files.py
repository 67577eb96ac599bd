"""Archives, the log, warnings, and processes that keep out of workspaces."""

import os
import re
import threading

import pytest
from terok.lib.core import paths
from terok.lib.util import fs, host_cmd, logging_utils


def mode(path):
    return path.stat().st_mode & 0o777


# improves: 30-9.6-archives-private
def test_archives_are_private_and_unique(tmp_path):
    root = tmp_path / "a/b"
    previous = os.umask(0)
    try:
        first, second = (fs.create_archive_file(root, "x") for _ in range(2))
        folder, other = (fs.create_archive_dir(root, "x") for _ in range(2))
    finally:
        os.umask(previous)
    assert [path.name for path in (first, second, folder, other)] == ["x.tar.gz", "x_1.tar.gz", "x", "x_1"]
    assert [mode(path) for path in (first, folder, root, root.parent)] == [0o600, 0o700, 0o700, 0o700]
    assert fs.unique_archive_path(root, "x") == root / "x_2" and fs.unique_archive_path(root, "y", ".z") == root / "y.z"
    (root / "x_2").symlink_to("/nowhere")
    assert fs.create_archive_dir(root, "x") == root / "x_3", "a link is not followed"


def test_archives_of_many_processes(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fs.create_archive_dir(tmp_path, "x"))) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(set(found)) == 12


def test_time_stamps_of_archives():
    assert re.fullmatch(r"\d{8}T\d{12}Z", fs.archive_timestamp())


def test_the_log(home):
    logging_utils._log_debug("one\ntwo\x1b[2J")
    logging_utils.log_warning("three \udcff")
    logging_utils._log("four", level="INFO")
    log = paths.core_state_dir() / logging_utils.LOG_FILENAME
    lines = log.read_text().splitlines()
    assert [re.sub(r"^\[[-0-9]{10} [:0-9]{8}\] ", "", line) for line in lines] == [
        "DEBUG: one two\\x1b[2J", "WARNING: three \\udcff", "INFO: four",
    ]  # fmt: skip
    assert mode(log) == 0o600


def test_logging_never_fails(home, monkeypatch):
    blocked = home / "blocked"
    blocked.write_text("")
    monkeypatch.setenv("TEROK_STATE_DIR", str(blocked / "x"))
    logging_utils._log_debug("x")
    monkeypatch.setenv("TEROK_STATE_DIR", str(home / "s"))
    target = home / "target"
    (home / "s").mkdir()
    (home / "s/terok.log").symlink_to(target)
    logging_utils.log_warning("x")
    assert not target.exists()
    monkeypatch.setattr("sys.stderr", None)
    logging_utils.warn_user("a", "b")


def test_warnings_reach_the_user_and_the_log(home, capsys):
    logging_utils.warn_user("confi\tg", "a\nb\x1b[2J\u202e")
    assert capsys.readouterr().err == "Warning [confi g]: a b\\x1b[2J\\x202e\n"
    assert (paths.core_state_dir() / "terok.log").read_text().endswith("WARNING: [confi g] a b\\x1b[2J\\x202e\n")


def test_no_process_enters_a_workspace(tmp_path, monkeypatch):
    inside = tmp_path / "t" / host_cmd.WORKSPACE_DANGEROUS_DIRNAME / "x"
    inside.mkdir(parents=True)
    (tmp_path / "link").symlink_to(inside)
    assert host_cmd.SHARED_DIRNAME == "_shared"
    assert host_cmd.is_in_dangerous_workspace(inside) and host_cmd.is_in_dangerous_workspace(str(tmp_path / "link"))
    assert not host_cmd.is_in_dangerous_workspace(tmp_path)
    host_cmd.assert_not_in_dangerous_workspace(["git", "-C", str(tmp_path), "status"], tmp_path)
    for cmd, cwd in [
        (["git", "-C", str(inside), "status"], tmp_path),
        (["git", f"--work-tree={inside}"], tmp_path),
        (["tar", f"-C{inside}"], tmp_path),
        (["cat", str(tmp_path / "link/f")], None),
        (["ls"], inside),
        (["cat", "link/f"], tmp_path),
        (["git", "-C", "t/../link"], tmp_path),
    ]:
        with pytest.raises(RuntimeError, match="workspace"):
            host_cmd.assert_not_in_dangerous_workspace(cmd, cwd)
    monkeypatch.chdir(inside)
    with pytest.raises(RuntimeError):
        host_cmd.assert_not_in_dangerous_workspace(["ls"])
