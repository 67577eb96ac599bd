"""What people see: colours, emojis, wrapped lines, check-ups, editors."""

import io
import os
import stat

import pytest
from terok.lib.util import ansi, check_reporter, emoji, net, subprocess_env
from terok.ui_utils import editor, terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "screen", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "0"}, True, True),
    ],
)
def test_whether_colours_are_wanted(environment, screen, wanted, home, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", Screen() if screen else io.StringIO())
    assert ansi.supports_color() is wanted and terminal.supports_color() is wanted


def test_colours():
    codes = {
        ansi.bold: 1,
        ansi.red: 31,
        ansi.green: 32,
        ansi.yellow: 33,
        ansi.blue: 34,
        terminal.violet: 35,
        terminal.gray: 90,
    }
    for paint, code in codes.items():
        assert (paint("x", True), paint("x", False)) == (f"\x1b[{code}mx\x1b[0m", "x")
    assert terminal.yes_no(True, False) == "yes" and terminal.yes_no(False, True) == "\x1b[31mno\x1b[0m"
    assert terminal.bold is ansi.bold and terminal.hyperlink is ansi.hyperlink


def test_links():
    link = ansi.hyperlink("t", "http://x", enabled=True)
    assert link.endswith(";http://x\x1b\\t\x1b]8;;\x1b\\") and link.startswith("\x1b]8;id=")
    assert link == ansi.hyperlink("t", "http://x", enabled=True)
    assert ansi.hyperlink("t", "http://x", enabled=False) == "t"


@pytest.mark.parametrize(
    ("prefix", "body", "suffix", "width", "text"),
    [
        ("🟢 ", "aaa bbb ccc", "", 8, "🟢 aaa\n   bbb\n   ccc"),
        ("> ", "aaa bbb ccc ddd", " (x)", 10, "> aaa bbb\n  ccc ddd\n  (x)"),
        ("> ", "aaa bbb c", " (x)", 10, "> aaa bbb\n  c (x)"),
        ("> ", "a" * 20, " (suffix)", 10, "> aaaaaaaa\n  aaaaaaaa\n  aaaa\n  (suffix)"),
        ("p ", "one-two three", "  [t]", 9, "p one-two\n  three\n  [t]"),
        ("> ", "", "  tail text", 6, "> \n  tail text"),
        ("longprefix", "a b", "s", 5, "longprefixa bs"),
        ("a", "b", "c", 0, "abc"),
        ("a", "b c", "d", -1, "ab cd"),
        ("> ", "fits", "!", 7, "> fits!"),
    ],
)
def test_wrapping(prefix, body, suffix, width, text):
    assert terminal.wrap_with_hanging_indent(prefix, body, suffix, width) == text


def test_cells():
    assert [terminal.cell_len(text) for text in ("a", "日本", "🟢", "e\u0301", "")] == [1, 4, 2, 1, 0]


def test_emojis(monkeypatch):
    monkeypatch.setattr(emoji, "_emoji_enabled", True)

    class Info:
        emoji, label = "🟢", "running"

    class Nameless:
        emoji, label = "🦗", ""

    assert isinstance(Info(), emoji.EmojiInfo) and emoji.is_emoji_enabled()
    assert emoji.render_emoji(Info()) == "🟢"
    emoji.set_emoji_enabled(False)
    assert (emoji.render_emoji(Info()), emoji.render_emoji(Nameless())) == ("[running]", "")


def test_check_up():
    out = io.StringIO()
    report = check_reporter.CheckReporter(width=20, stream=out, color=False)
    report.emit("ok", "label", "d")
    report.emit("weird", "a" * 30, "")
    with report.group("group") as members:
        members.add("ok", "fine")
        members.track("warn", "label", "detail")
        members.add("ok", "fine")
    with report.group("empty"):
        pass
    assert report.worst_status == "warn"
    with pytest.raises(ValueError, match="x"), report.group("cut short") as members:
        members.add("error", "e")
        members.add("info", "i")
        raise ValueError("x")
    assert report.worst_status == "error"
    report.emit("info", "last", "")
    assert out.getvalue().splitlines() == [
        "  label               ok (d)",
        f"  {'a' * 30}   weird",
        "  group               WARN (1 warn, 2 ok)",
        "    WARN: detail",
        "  empty               ok (0 checks)",
        "  cut short           ERROR (1 error, 1 info)",
        "    ERROR: e",
        "    info: i",
        "  last                info",
    ]


def test_check_up_goes_to_the_stream_of_the_moment(capsys):
    check_reporter.CheckReporter(color=True).emit("error", "x", "y")
    assert capsys.readouterr().out == f"  x{' ' * 47}\x1b[31mERROR\x1b[0m (y)\n"


def test_hosts_in_urls():
    assert [net.url_host(host) for host in ("h", "::1", "[::1]", "1.2.3.4")] == ["h", "[::1]", "[::1]", "1.2.3.4"]


def test_environment_of_children(monkeypatch):
    monkeypatch.setattr("sys.path", ["/a", "/b"])
    before = dict(os.environ)
    made = subprocess_env.child_process_env({"X": "1", "PYTHONPATH": "/no"})
    assert (made["X"], made["PYTHONPATH"], made["PATH"]) == ("1", "/a:/b", os.environ["PATH"])
    assert dict(os.environ) == before and subprocess_env.child_process_env() is not subprocess_env.child_process_env()


@pytest.fixture
def program(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))

    def write(name, status=0):
        path = home / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {home}/words\nexit {status}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


def test_editors(program, home, monkeypatch, capsys):
    file = home / "a file"
    assert editor.open_in_editor(file) is False and "EDITOR" in capsys.readouterr().err
    program("vi", status=3)
    assert editor.open_in_editor(file) is False
    program("nano")
    assert editor.open_in_editor(file) is True and (home / "words").read_text() == f"{file}\n"
    program("mine")
    monkeypatch.setenv("EDITOR", "mine --wait 'x y'")
    assert editor.open_in_editor(file) is True and (home / "words").read_text() == f"--wait\nx y\n{file}\n"
    monkeypatch.setenv("EDITOR", "gone")
    assert editor.open_in_editor(file) is True and (home / "words").read_text() == f"{file}\n"


# improves: 30-9.3-editor-quote
def test_an_editor_with_an_unbalanced_quote(program, home, monkeypatch, capsys):
    program("nano")
    monkeypatch.setenv("EDITOR", "mine 'x")
    assert editor.open_in_editor(home / "f") is True
    assert "EDITOR" in capsys.readouterr().err
