"""The part of the init script that runs as root of a virtual machine."""

from __future__ import annotations

import stat

import pytest

ENV = {
    "TEROK_CONTAINER_RUNTIME": "krun",
    "TASK_ID": "t 1",
    "HISTSIZE": "5",
    "LC_TIME": "C",
    "TWO": "a\nb",
    "SHELL": "/bin/x",
    "_TEROK_LOGIN": "1",
}


@pytest.fixture
def machine(box):
    # There is one user in the box, so `dev` is a second name of root here.
    (box.base / "etc/passwd").write_text("root:x:0:0::/root:/bin/bash\ndev:x:0:0::/home/dev:/bin/bash\n")
    (box.base / "etc/group").write_text("root:x:0:\ndev:x:0:\n")
    box.program("sshd", "#!/bin/sh\nprintf '%s|' \"$0\" \"$@\" >>/srv/sshd; echo >>/srv/sshd\nsleep 0.2\nexit 1\n")
    box.program("ssh-keygen", '#!/bin/sh\necho "$*" >>/srv/keys\n')
    box.program("runuser", '#!/bin/sh\necho "$*|$HOME|$USER|$TASK_ID"\n')
    return box


def test_login_works_before_all_else(machine):
    again = "for i in $(seq 300); do [ $(cat /srv/sshd 2>/dev/null | wc -l) -ge 2 ] && break; sleep 0.1; done"
    result = machine.bash(f"init-ssh-and-repo.sh; {again}; wc -l </srv/sshd", uid=0, CODE_REPO="/srv/none", **ENV)
    switched, starts = result.out.splitlines()
    assert switched == "-u dev -- /terok/bin/init-ssh-and-repo.sh|/home/dev|dev|t 1"
    assert int(starts) >= 2, "sshd is started again after it ended"
    first = (machine.base / "srv/sshd").read_text().splitlines()[0].split("|")
    assert first[:3] == ["/terok/bin/sshd", "-D", "-e"]
    assert {"AllowUsers dev root", "PermitRootLogin without-password", "PermitUserEnvironment yes"} <= set(first)
    assert (machine.base / "srv/keys").read_text() == "-A\n"


def test_environment_of_logins(machine):
    folder = machine.base / "home/dev/.ssh"
    folder.mkdir()
    (machine.base / "srv/victim").write_text("untouched")
    (folder / "environment").symlink_to("/srv/victim")
    machine.run("init-ssh-and-repo.sh", uid=0, **ENV)
    file = folder / "environment"
    lines = file.read_text().splitlines()
    assert "TASK_ID=t 1" in lines and "TEROK_CONTAINER_RUNTIME=krun" in lines and "_TEROK_LOGIN=1" in lines
    names = {line.split("=")[0] for line in lines}
    assert not names & {"PATH", "HOME", "USER", "PWD", "SHLVL", "LANG", "LC_TIME", "HISTSIZE", "SHELL", "TWO", "_"}
    assert not file.is_symlink() and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (machine.base / "srv/victim").read_text() == "untouched"


@pytest.mark.parametrize("env", [{}, {"TEROK_CONTAINER_RUNTIME": "crun"}])
def test_ordinary_containers_skip_it(machine, env):
    result = machine.run("init-ssh-and-repo.sh", uid=0, **env)
    assert result.out.endswith(">> init complete\n") and not (machine.base / "srv/sshd").exists()
