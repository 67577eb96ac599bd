"""init-ssh-and-repo.sh on real repositories: new, seeded and restarted tasks."""

from __future__ import annotations

import pytest

ORIGIN = """
export GIT_CONFIG_GLOBAL=/srv/setup.gitconfig
git config --global user.name U; git config --global user.email u@x; git config --global init.defaultBranch main
git init -q --bare /srv/origin.git; git init -q /srv/work; cd /srv/work
git remote add origin /srv/origin.git
echo one >file; printf 'ignored\\n' >.gitignore; git add .; git commit -qm one; git push -q origin HEAD:main
git checkout -qb dev; echo dev >file; git commit -qam dev; git push -q origin dev
git -C /srv/origin.git symbolic-ref HEAD refs/heads/main
git clone -q --bare /srv/origin.git /srv/mirror.git
"""
ENV = {"REPO_ROOT": "/workspace", "CODE_REPO": "/srv/origin.git"}


@pytest.fixture
def repo_box(box):
    result = box.run("bash", "-euc", ORIGIN)
    assert result.status == 0, result.err
    return box


def init(box, before: str = "", after: str = "", **env):
    script = f"""
        cd /workspace
        {before}
        init-ssh-and-repo.sh; status=$?
        {after}
        exit $status
    """
    return box.bash(script, **{**ENV, **env})


def workspace(box):
    return box.base / "workspace"


def seed(origin: str = "/srv/origin.git", branch: str = "main") -> str:
    return f"git clone -q -b {branch} /srv/origin.git /tmp/c && cp -a /tmp/c/. . && git remote set-url origin {origin}; touch .new-task-marker"


def test_new_task_on_a_branch(repo_box):
    result = init(repo_box, "touch .new-task-marker", "git branch --show-current >&2", GIT_BRANCH="dev")
    assert result.status == 0, result.err
    assert result.out.splitlines()[-1] == ">> init complete"
    assert result.err.splitlines()[-1] == "dev"
    assert not (workspace(repo_box) / ".new-task-marker").exists()


def test_new_task_on_a_branch_that_does_not_exist(repo_box):
    result = init(repo_box, after="git branch --show-current", GIT_BRANCH="nowhere")
    assert result.status == 0
    assert "nowhere" in result.err and result.out.endswith("main\n")


def test_dead_origin_is_fatal_after_the_settings_are_written(repo_box):
    (repo_box.base / "etc/claude-code").mkdir()
    result = init(repo_box, CODE_REPO="/srv/gone.git", GIT_BRANCH="dev", TEROK_UNRESTRICTED="1")
    assert result.status == 128
    assert "gone.git" in result.err and ">> init complete" not in result.out
    assert list(workspace(repo_box).iterdir()) == []
    settings = repo_box.base / "etc/claude-code/managed-settings.json"
    assert settings.read_text() == '{"permissions":{"defaultMode":"bypassPermissions"}}\n'
    assert settings.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("value", [None, "", "0", "true"])
def test_restricted_tasks_get_no_settings(box, value):
    (box.base / "etc/claude-code").mkdir()
    env = {} if value is None else {"TEROK_UNRESTRICTED": value}
    assert box.run("init-ssh-and-repo.sh", **env).status == 0
    assert list((box.base / "etc/claude-code").iterdir()) == []


def test_settings_in_a_directory_of_root_are_written_through_sudo(box):
    folder = box.base / "etc/claude-code"
    folder.mkdir(mode=0o555)
    box.program("sudo", '#!/bin/sh\nshift\nchmod 755 /etc/claude-code\nexec "$@"\n')
    box.run("init-ssh-and-repo.sh", TEROK_UNRESTRICTED="1")
    assert (folder / "managed-settings.json").exists()


def test_foreign_files_are_listed_and_kept(repo_box):
    result = init(repo_box, "touch .new-task-marker; echo mine >stray; mkdir .cache")
    assert result.status == 128
    assert "stray" in result.err and ".cache" in result.err
    assert (workspace(repo_box) / "stray").read_text() == "mine\n"


def test_clone_from_the_mirror_points_at_the_upstream(repo_box):
    before = "git -C /srv/work commit -qam later --allow-empty && git -C /srv/work push -q origin dev"
    env = {"GIT_CONFIG_GLOBAL": "/srv/setup.gitconfig"}
    after = "git remote get-url origin; git rev-parse HEAD origin/dev; git branch --show-current; git log -1 --format=%s"
    result = init(repo_box, before, after, CLONE_FROM="/srv/mirror.git", GIT_BRANCH="dev", **env)
    url, head, remote, branch, subject = result.out.splitlines()[-5:]
    assert (url, branch, subject) == ("/srv/origin.git", "dev", "later"), result.err
    assert head == remote


def test_mirror_without_reachable_upstream_still_works(repo_box):
    result = init(repo_box, after="git remote get-url origin", CLONE_FROM="/srv/mirror.git", CODE_REPO="/srv/gone.git")
    assert result.status == 0
    assert result.out.splitlines()[-1] == "/srv/gone.git"


def test_seeded_workspace_becomes_what_origin_has(repo_box):
    before = f"{seed()}; echo junk >junk; mkdir d; echo x >d/x; echo kept >ignored; echo changed >file"
    result = init(repo_box, before, "git status --porcelain; git branch --show-current; cat file", GIT_BRANCH="dev")
    assert result.status == 0, result.err
    assert result.out.splitlines()[-2:] == ["dev", "dev"]
    names = {p.name for p in workspace(repo_box).iterdir()}
    assert names == {".git", ".gitignore", "file", "ignored"}


def test_seeded_workspace_without_a_branch_follows_its_own(repo_box):
    before = f"{seed(branch='dev')}; git reset -q --hard HEAD~1"
    result = init(repo_box, before, "cat file")
    assert result.status == 0 and result.out.endswith("dev\n")


def test_seeded_with_foreign_origin_is_cloned_anew(repo_box):
    before = f"{seed('https://evil.example/x.git')}; echo evil >.git/hooks/post-checkout"
    result = init(repo_box, before, "git remote get-url origin; ls .git/hooks/post-checkout 2>/dev/null")
    assert result.status == 0, result.err
    assert result.out.splitlines()[-1] == "/srv/origin.git"


def test_marker_stays_when_the_checkout_failed(repo_box):
    # The lock makes every change of the work tree fail, the fetch does not need it.
    before = f"{seed()}; touch .git/index.lock"
    result = init(repo_box, before, GIT_BRANCH="dev")
    assert result.status == 0
    assert (workspace(repo_box) / ".new-task-marker").exists()
    again = init(repo_box, "rm .git/index.lock", "git branch --show-current", GIT_BRANCH="dev")
    assert again.out.splitlines()[-1] == "dev"
    assert not (workspace(repo_box) / ".new-task-marker").exists()


def test_seeded_submodules_follow(repo_box):
    make = """
        git init -q /srv/sub; (cd /srv/sub; echo s >s; git add .; git commit -qm s)
        cd /srv/work; git -c protocol.file.allow=always submodule --quiet add /srv/sub sub
        git commit -qm sub; git push -q origin dev
    """
    assert repo_box.run("bash", "-euc", make, GIT_CONFIG_GLOBAL="/srv/setup.gitconfig").status == 0
    allow = "git config --global protocol.file.allow always"
    result = init(repo_box, f"{allow}; {seed()}", "cat sub/s", GIT_BRANCH="dev")
    assert result.out.endswith("s\n"), result.err


@pytest.mark.parametrize(
    ("mode", "file", "staged"), [("none", "mine", ""), ("soft", "mine", ""), ("hard", "dev", ""), ("odd", "mine", "")]
)
def test_restart_keeps_work_unless_told_otherwise(repo_box, mode, file, staged):
    assert init(repo_box, GIT_BRANCH="dev").status == 0
    result = init(repo_box, "echo mine >file", "cat file", GIT_BRANCH="dev", GIT_RESET_MODE=mode)
    assert result.status == 0 and result.out.splitlines()[-1] == file


def test_soft_reset_moves_the_branch_but_not_the_files(repo_box):
    assert init(repo_box, GIT_BRANCH="dev").status == 0
    commit = "git -c user.name=A -c user.email=a@x commit -qam local"
    after = "cat file; git rev-parse HEAD origin/dev"
    result = init(repo_box, f"echo mine >file; {commit}", after, GIT_BRANCH="dev", GIT_RESET_MODE="soft")
    file, head, remote = result.out.splitlines()[-3:]
    assert (file, head) == ("mine", remote)


def test_restart_with_stale_origin_and_dead_remotes(repo_box):
    assert init(repo_box).status == 0
    before = """
        git remote set-url origin http://old@localhost:1/p.git; git remote set-url --push origin http://old@localhost:1/q
        git remote add gate http://old@localhost:1/p.git; git remote add external /srv/nothing.git
    """
    result = init(repo_box, before, "git remote get-url origin; git remote get-url --push origin")
    assert result.status == 0, result.err
    assert result.out.splitlines()[-2:] == ["/srv/origin.git", "/srv/origin.git"]


def test_restart_with_origin_gone_is_fatal(repo_box):
    assert init(repo_box).status == 0
    result = init(repo_box, "mv /srv/origin.git /srv/moved; echo mine >file")
    assert result.status == 128
    assert (workspace(repo_box) / "file").read_text() == "mine\n"


def test_clone_that_was_killed_is_repeated(repo_box):
    result = init(repo_box, "git init -q .; mkdir -p .git/objects/pack; echo x >.git/objects/pack/tmp_pack_1", "cat file")
    assert result.status == 0 and result.out.endswith("one\n")


def test_remotes_and_freshness(repo_box):
    behind = "git -C /srv/work push -q origin dev:main"
    env = {"EXTERNAL_REMOTE_URL": "file:///srv/origin.git", "GATE_REMOTE_URL": "/srv/mirror.git"}
    fresh = init(repo_box, **env)
    assert "up to date with upstream" in fresh.out
    later = init(repo_box, behind, "git remote", CODE_REPO="/srv/mirror.git", **env)
    assert "1 commits behind upstream" in later.out
    assert later.out.splitlines()[-3:] == ["external", "gate", "origin"]
    gone = init(repo_box, **{**env, "EXTERNAL_REMOTE_URL": "/srv/none.git"})
    assert gone.status == 0 and "cannot be reached" in gone.out


def test_nothing_to_clone(box):
    result = box.run("init-ssh-and-repo.sh", REPO_ROOT="/workspace")
    assert result.status == 0 and result.out.endswith(">> init complete\n")
    assert "cloning" not in result.out
    assert list(workspace(box).iterdir()) == []
    assert (box.base / "home/dev/.ssh").stat().st_mode & 0o777 == 0o700
    assert "accept-new" in (box.base / "home/dev/.ssh/config").read_text()


def test_open_stdin_without_terminal_does_not_hang(box):
    result = box.bash("timeout 50 init-ssh-and-repo.sh < <(sleep 60); echo $?", timeout=120)
    assert ">> init complete" in result.out and "\n0\n" in result.out


def test_terminal_gets_a_shell(box):
    command = "init-ssh-and-repo.sh"
    result = box.run("script", "-qec", command, "/dev/null", stdin="echo shell=$((6*7)) $-; exit 5\n")
    assert "shell=42" in result.out and result.status == 5


def test_safe_directory_is_added_once(repo_box):
    for _ in range(3):
        result = init(repo_box, after="git config --global --get-all safe.directory")
    assert result.out.splitlines()[-1] == "/workspace" and result.out.count("\n/workspace\n") == 1


def test_sourcing_through_bash_env_changes_nothing(repo_box):
    result = init(repo_box, BASH_ENV="/etc/profile.d/terok-env.sh", GIT_BRANCH="dev")
    assert result.status == 0 and result.out.endswith(">> init complete\n")
