"""The prompt, on a real terminal and without one."""

import subprocess
import sys

import pytest
from tiers_site import account, on_terminal  # noqa: F401

ASK = """
import sys
from terok_sandbox.vault.store.encryption import prompt_passphrase
try:
    print("GOT", ascii(prompt_passphrase(confirm=bool(int(sys.argv[1])))))
except ValueError as error:
    print("REFUSED", error)
"""


def asked(confirm: bool, *answers: tuple[str, str]) -> tuple[int, str]:
    return on_terminal([sys.executable, "-c", ASK, str(int(confirm))], list(answers))


def piped(confirm: bool, text: str) -> subprocess.CompletedProcess[str]:
    argv = ["setsid", "-w", sys.executable, "-c", ASK, str(int(confirm))]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=180, check=False)


def test_what_is_typed_is_masked_and_stripped(account):  # noqa: F811
    status, shown = asked(False, ("passphrase: ", "  päss wörd \n"))
    assert status == 0 and "GOT 'p\\xe4ss w\\xf6rd'" in shown
    before = shown[: shown.index("GOT")]
    assert "wörd" not in before and before.count("*") == len("  päss wörd ")


def test_erasing_works_by_character_and_by_line(account):  # noqa: F811
    status, shown = asked(False, ("passphrase: ", "wrong\x15abcé\x7f\x7fd\r"))
    assert status == 0 and "GOT 'abd'" in shown


def test_an_empty_answer_is_refused_without_confirmation(account):  # noqa: F811
    assert "REFUSED" in asked(False, ("passphrase: ", "\n"))[1]


def test_confirmation_asks_twice_and_compares(account):  # noqa: F811
    good = asked(True, ("make one): ", "pw\n"), ("Again: ", "pw\n"))[1]
    assert "GOT 'pw'" in good
    bad = asked(True, ("make one): ", "pw\n"), ("Again: ", "pv\n"))[1]
    assert "REFUSED" in bad and "differ" in bad


def test_an_empty_answer_with_confirmation_makes_a_passphrase_and_shows_it(account):  # noqa: F811
    status, shown = asked(True, ("make one): ", "\n"))
    assert status == 0
    made = shown[shown.index("GOT '") + 5 :].split("'")[0]
    assert len(made) == 43 and f"off this host): {made}" in shown


def test_a_made_passphrase_never_goes_to_standard_output(account, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    script = f'exec "{sys.executable}" -c "$ASK" 1 > {out}'
    status, shown = on_terminal(["env", f"ASK={ASK}", "bash", "-c", script], [("make one): ", "\n")])
    assert status == 0 and "off this host" in shown
    assert out.read_text().startswith("GOT ") and "off this host" not in out.read_text()


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_interrupt_and_end_of_input_leave(account, key):  # noqa: F811
    status, shown = asked(False, ("passphrase: ", key))
    assert status == 1 and "no passphrase entered" in shown and "GOT" not in shown


def test_without_a_terminal_one_line_counts(account):  # noqa: F811
    assert piped(False, " p w \nmore\n").stdout == "GOT ' p w '\n"
    assert piped(True, "pw\n").stdout == "GOT 'pw'\n"
    assert piped(True, "\n").stdout.startswith("REFUSED")
    assert piped(False, "").stdout.startswith("REFUSED")
