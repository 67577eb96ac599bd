"""The keyring tier against a real GNOME Keyring on a session bus of its own, and without any."""

import os
import subprocess
import sys

import pytest
from terok_sandbox.vault.store import encryption
from tiers_site import OLD, Account, account, needs  # noqa: F401

pytestmark = needs("dbus-run-session", "gnome-keyring-daemon", "secret-tool")
ITEM = "service terok-sandbox username credentials-db"
START = 'printf login | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; exec bash -ec "$0"'


def in_session(account: Account, script: str) -> str:  # noqa: F811
    """Run a shell script in a session with an unlocked keyring; ``$PY`` is Python, ``$TK`` our command line."""
    env = {name: value for name, value in os.environ.items() if name != "DBUS_SESSION_BUS_ADDRESS"}
    run = account.home / "session"
    run.mkdir(mode=0o700, exist_ok=True)
    env |= {"XDG_RUNTIME_DIR": str(run), "PY": sys.executable, "TK": f"{sys.executable} -m terok_sandbox.cli"}
    argv = ["dbus-run-session", "--", "setsid", "-w", "bash", "-c", START, f"set -o pipefail; {script}"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(code: str) -> str:
    return f'"$PY" -c "from terok_sandbox.vault.store import encryption as e; {code}"'


def test_an_item_is_the_one_that_other_programs_see(account):  # noqa: F811
    shown = in_session(
        account,
        f"""
        {python("print(e.load_passphrase_from_keyring(), e.forget_passphrase_in_keyring())")}
        {python("print(e.store_passphrase_in_keyring('pässword one'))")}
        secret-tool lookup {ITEM}; echo
        secret-tool search {ITEM} 2>&1 | grep -c '^attribute.application = Python keyring library'
        {python("print(e.store_passphrase_in_keyring('two'))")}
        secret-tool search --all service terok-sandbox 2>&1 | grep -c '^secret = '
        {python("print(e.forget_passphrase_in_keyring(), e.load_passphrase_from_keyring())")}
        ! secret-tool lookup {ITEM}
        """,
    )
    assert shown.split("\n") == ["None False", "True", "pässword one", "1", "True", "1", "True None", ""]


def test_an_item_of_another_program_is_read(account):  # noqa: F811
    shown = in_session(
        account,
        f"printf foreign | secret-tool store --label x {ITEM}; {python('print(e.load_passphrase_from_keyring())')}",
    )
    assert shown == "foreign\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root outside is root inside: the user namespace changes nothing")
def test_a_rootless_user_namespace_is_no_obstacle(account):  # noqa: F811
    shown = in_session(
        account,
        f"""
        printf host | secret-tool store --label x {ITEM}
        unshare -Ur {python("import os; print(os.geteuid(), e.load_passphrase_from_keyring())")}
        """,
    )
    assert shown == "0 host\n"


def test_the_passphrase_moves_into_the_keyring(account):  # noqa: F811
    account.configure(f"credentials:\n  passphrase: {OLD}  # mine\n")
    account.vault()
    session = account.session()
    shown = in_session(
        account,
        f"""
        $TK vault passphrase to-keyring
        secret-tool lookup {ITEM}; echo
        $TK vault list
        $TK vault passphrase to-keyring
        printf 'another one\\n' | $TK vault passphrase change
        secret-tool lookup {ITEM}; echo
        $TK vault list
        $TK vault passphrase destroy
        ! $TK vault list
        """,
    )
    assert shown.splitlines() == [
        "passphrase moved to the keyring", OLD, "default  claude  api_key  key",
        "the passphrase is in the keyring already", "passphrase changed; copies replaced: keyring", "another one",
        "default  claude  api_key  key", "the passphrase is destroyed on this host",
    ]  # fmt: skip
    assert not session.exists()
    text = account.file.read_text()
    assert "use_keyring: true" in text and OLD not in text


# improves: 21-3.5-keyring-verified
@pytest.mark.parametrize("stale", [True, False])
def test_nothing_moves_when_the_passphrase_is_wrong_or_the_keyring_refuses(account, stale):  # noqa: F811
    """In a session with a keyring that would take a wrong one, and in one without any."""
    account.vault()
    session = account.session("stale" if stale else OLD)
    before = account.file.read_text() if account.file.exists() else None
    if stale:
        in_session(account, f"! $TK vault passphrase to-keyring; ! secret-tool lookup {ITEM}")
    else:
        done = account.run("vault", "passphrase", "to-keyring")
        assert done.returncode == 1 and "nothing has changed" in done.stderr
    assert session.exists()
    assert (account.file.read_text() if account.file.exists() else None) == before


def test_without_a_bus_the_next_tier_is_asked(account):  # noqa: F811
    account.configure("credentials: {use_keyring: true, passphrase: weaker}\n")
    assert account.config.resolve_passphrase_with_source() == ("weaker", "config")
    assert encryption.store_passphrase_in_keyring("x") is False
    with pytest.raises(ValueError, match="empty"):
        encryption.store_passphrase_in_keyring("")


def test_a_locked_keyring_that_nobody_unlocks_is_skipped_by_a_service(account):  # noqa: F811
    """A supervisor never lets a dialogue pop up."""
    shown = in_session(
        account,
        f"""
        printf here | secret-tool store --label x {ITEM}
        printf '' | gnome-keyring-daemon --replace --components=secrets >/dev/null 2>&1 &
        sleep 1
        "$PY" -c "from terok_native import _lib; print(_lib.passphrase_keyring_load(False))"
        """,
    )
    assert shown == "None\n"
