"""What a repository argument means."""

from __future__ import annotations

import os

import pytest
from terok_executor.container.repository import repo_key, resolve_repo


@pytest.mark.parametrize(
    "url",
    ["git@github.com:u/r.git", "https://host/x/y.git", "ssh://git@host/r", "file:///srv/r.git", "host:path/r"],
)
def test_urls_pass_unchanged(url):
    assert resolve_repo(url) == (url, None)


def test_a_directory_is_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "repo").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "repo")
    assert resolve_repo(str(tmp_path / "link")) == (None, (tmp_path / "repo").resolve())
    assert resolve_repo("~/repo") == (None, (tmp_path / "repo").resolve())


@pytest.mark.parametrize("missing", ["./nonexistent", "/no/such/dir", "../nope", "nope", "~/nope"])
def test_a_missing_path_is_named(missing):
    with pytest.raises(SystemExit, match="not found"):
        resolve_repo(missing)


def test_a_file_is_not_a_repository(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit, match=r"not found \(there is a file"):
        resolve_repo(str(tmp_path / "file"))


@pytest.mark.parametrize("bad", ["--upload-pack=x", "-x", "ext::sh -c id", "fd::7", "https://h/r\n.git"])
def test_options_and_remote_helpers_are_refused(bad):
    with pytest.raises(SystemExit, match="plain URL"):
        resolve_repo(bad)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every directory")
def test_an_unreadable_directory_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with pytest.raises(SystemExit, match="permission denied"):
        resolve_repo(str(closed))


def test_keys_are_one_plain_path_component():
    assert repo_key("https://x/y/repo.git/") == "repo-c8c3a690b631"
    for url in ("git@host:repo.git", "https://h/../..", "https://h/", "a:b/ä ö"):
        key = repo_key(url)
        assert "/" not in key and key not in (".", "..") and all(c.isalnum() or c in "._-" for c in key)
    assert len(repo_key("https://h/" + "a" * 200)) == 64 and repo_key("https://h/_x").startswith("x-")
