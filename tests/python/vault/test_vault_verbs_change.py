"""Changing the passphrase: every copy follows, and a crash at any point leaves a pair that works."""

import os

import pytest
from terok_native import _lib
from terok_sandbox.commands.passphrase import handle_passphrase_change
from terok_sandbox.vault.store import change
from terok_sandbox.vault.store.db import CredentialDB
from terok_sandbox.vault.store.encryption import VaultBusyError, WrongPassphraseError
from tiers_site import CREDENTIAL, OLD, Account, account  # noqa: F401

NEW = "new passphrase"


def opens(account: Account) -> str | None:  # noqa: F811
    """What a new process finds: the tier that opens the vault, with the record intact."""
    db, source = account.config.open_credential_db_with_source()
    with db:
        assert db.load_credential("default", "claude") == CREDENTIAL
    return source


def test_every_copy_follows(account):  # noqa: F811
    account.configure(f"credentials:\n  passphrase: {OLD}\n")
    path = account.vault()
    session = account.session()
    done = account.run("vault", "passphrase", "change", stdin=f"{NEW}\n")
    assert done.returncode == 0, done.stderr
    assert "config, session-file" in done.stdout and "off this host is the old one" in done.stderr
    assert session.read_text() == f"{NEW}\n" and NEW in account.file.read_text() and OLD not in account.file.read_text()
    assert opens(account) == "session-file"
    assert not change.is_interrupted(path)
    with pytest.raises(WrongPassphraseError):
        CredentialDB(path, passphrase=OLD)


def test_a_made_passphrase_is_printed_on_request_only(account):  # noqa: F811
    account.vault()
    account.session()
    done = account.run("vault", "passphrase", "change", "--echo-passphrase")
    made = done.stdout.split("off this host): ")[1].splitlines()[0]
    assert len(made) == 43 and account.config.resolve_passphrase() == made and opens(account)


def test_nothing_changes_when_it_cannot_be_done(account, monkeypatch):  # noqa: F811
    path = account.vault()
    account.session("wrong")
    done = account.run("vault", "passphrase", "change", stdin=f"{NEW}\n")
    assert done.returncode == 1 and "wrong" in done.stderr
    account.session()
    assert account.run("vault", "passphrase", "change", stdin="\n").returncode == 1
    account.configure("credentials: {passphrase_command: 'echo x'}\n")
    done = account.run("vault", "passphrase", "change", stdin=f"{NEW}\n")
    assert done.returncode == 1 and "passphrase_command" in done.stderr
    account.configure("")
    with CredentialDB(path, passphrase=OLD) as holder, holder.transaction(), pytest.raises(VaultBusyError):
        change.change(account.config, OLD, NEW)
    assert not change.is_interrupted(path) and opens(account) == "session-file"
    path.unlink()
    assert "no vault" in account.run("vault", "passphrase", "change", stdin=f"{NEW}\n").stderr


def test_a_passphrase_that_is_only_typed_can_be_changed(account):  # noqa: F811
    account.vault()
    answers = [("passphrase: ", f"{OLD}\n"), ("make one): ", f"{NEW}\n"), ("Again: ", f"{NEW}\n")]
    status, shown = account.on_terminal("vault", "passphrase", "change", answers=answers)
    assert status == 0 and "none (it is asked for)" in shown
    CredentialDB(account.config.db_path, passphrase=NEW).close()


STEPS = ["passphrase_handover_write", "rekey", "config", "session-file", "passphrase_handover_forget"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_leaves_a_pair_that_works(account, step, when):  # noqa: F811
    """A child is ended in the middle, as by a power cut; whoever comes next gets in, and the next change finishes."""
    account.configure(f"credentials:\n  passphrase: {OLD}\n")
    path = account.vault()
    account.session()
    child = os.fork()
    if child == 0:
        crash_at(step, when)
        change.change(account.config, OLD, NEW)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7, "the step is one of those that happen"
    assert opens(account) == "session-file"
    done = account.run("vault", "passphrase", "change", stdin="final\n")
    assert done.returncode == 0, done.stderr
    expected = "final"
    if "finished a change" in done.stdout:
        expected = NEW
    assert account.config.resolve_passphrase() == expected and opens(account) == "session-file"
    assert expected in account.file.read_text() and not change.is_interrupted(path)


def crash_at(step: str, when: str) -> None:
    """End this process, without any clean-up, before or after a step of the change."""

    def crashing(real):
        def run(*args):
            if when == "before":
                os._exit(7)
            real(*args)
            os._exit(7)

        return run

    if step == "rekey":
        CredentialDB.change_passphrase = crashing(CredentialDB.change_passphrase)
    elif step in ("config", "session-file"):
        real = change.copies
        change.copies = lambda cfg: [(label, crashing(store) if label == step else store) for label, store in real(cfg)]
    else:
        setattr(_lib, step, crashing(getattr(_lib, step)))


def test_an_interrupted_change_is_named_by_other_verbs(account, capsys):  # noqa: F811
    path = account.vault()
    account.session()
    _lib.passphrase_handover_write(path, OLD, NEW)
    done = account.run("vault", "passphrase", "to-keyring")
    assert done.returncode == 1 and "interrupted" in done.stderr
    from terok_sandbox.doctor import run_check, sandbox_doctor_checks

    verdict = run_check(sandbox_doctor_checks()[0])
    assert verdict.severity == "warn" and "interrupted" in verdict.detail


def test_the_handler_raises_what_front_ends_catch(account):  # noqa: F811
    with pytest.raises(SystemExit, match="no vault"):
        handle_passphrase_change(cfg=account.config)
