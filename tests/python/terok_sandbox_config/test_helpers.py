"""Stage lines, YAML edits, the best-effort log, the package's lazy names, the host's time zone."""

import os
import subprocess
import sys

import pytest
import terok_sandbox
from terok_executor._util import detect_host_timezone
from terok_sandbox import BestEffortLogger, _stage, stage_line, yaml_update_section


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (lambda s: s.ok(), "ok"),
        (lambda s: s.ok("done"), "ok (done)"),
        (lambda s: (s.ok(), s.warn("late")), "WARN (late)"),
        (lambda s: s.missing("nft"), "MISSING (nft)"),
        (lambda s: s.skip(), "skip"),
        (lambda s: None, "FAIL (no marker set)"),
        (lambda s: s.fail("a\nb\n\nc"), "FAIL (a)\n" + " " * 25 + "b\n\n" + " " * 25 + "c"),
    ],
)
def test_stage_lines(capsys, act, line):
    with stage_line("Label") as stage:
        act(stage)
    assert capsys.readouterr().out == f"  {'Label':<21} {line}\n"


def test_an_exception_is_shown_and_goes_on(capsys):
    with pytest.raises(OSError), stage_line("Label") as stage:
        stage.ok("fine")
        raise OSError("no space")
    assert capsys.readouterr().out.endswith(" FAIL (no space)\n")


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, False),
    ],
)
def test_colour_is_decided_by_the_environment(variables, coloured):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")} | variables
    program = "from terok_sandbox import bold, red, yellow; print(bold('a') + red('b') + yellow('c'))"
    out = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout
    assert out == ("\x1b[1ma\x1b[0m\x1b[31mb\x1b[0m\x1b[33mc\x1b[0m\n" if coloured else "abc\n")
    assert callable(_stage.green)


def test_yaml_edits(tmp_path):
    path = tmp_path / "new" / "c.yml"
    yaml_update_section(path, "s", {"a": None, "b": ("x", 1), "c": tmp_path})
    assert path.read_text() == f"s:\n  a: null\n  b:\n    - x\n    - 1\n  c: {tmp_path}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("- x\n")
    with pytest.raises(ValueError, match=r"c\.yml"):
        yaml_update_section(path, "s", {"a": 1})
    assert path.read_text() == "- x\n"


def test_other_readers_understand_our_edits(tmp_path):
    yaml = pytest.importorskip("ruamel.yaml", reason="the reader of existing front ends is not installed").YAML
    path = tmp_path / "c.yml"
    path.write_text("# top\ns:\n    a: 'x'  # why\n")
    values = {
        "yes": "yes",
        "date": "2026-01-02",
        "num": "1_000",
        "oct": "0o17",
        "empty": "",
        "nl": "a\nb\n",
        "t": True,
        "n": 5,
    }
    yaml_update_section(path, "s", values)
    assert dict(yaml(typ="safe").load(path)["s"]) == {"a": "x", **values}


def test_the_log_never_fails(tmp_path, capsys):
    path = tmp_path / "deep" / "x.log"
    log = BestEffortLogger(lambda: path)
    log.debug("one\n[2026-01-01 00:00:00] WARNING: forged")
    log.warning("two")
    log.log("three", level="INFO")
    log.warn_user("vault", "bad \x1b[2J\nname")
    lines = path.read_text().splitlines()
    assert [line[22:] for line in lines] == [
        "DEBUG: one\\n[2026-01-01 00:00:00] WARNING: forged", "WARNING: two", "INFO: three",
        "WARNING: [vault] bad \x1b[2J\\nname",
    ]  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().err == "Warning [vault]: bad \\x1b[2J name\n"
    for broken in (lambda: tmp_path, lambda: tmp_path / "deep/x.log/y", lambda: 1 / 0, lambda: None):
        BestEffortLogger(broken).warning("x")
    (tmp_path / "link").symlink_to(path)
    BestEffortLogger(lambda: tmp_path / "link").warning("through")
    assert len(path.read_text().splitlines()) == 4, "links are not followed"


def test_public_names():
    assert len(terok_sandbox.__all__) == len(set(terok_sandbox.__all__)) == 82
    assert set(terok_sandbox.__all__) <= set(dir(terok_sandbox))
    assert terok_sandbox.SERVICES_TCP_OPTOUT_YAML == "services: {mode: tcp}"
    assert terok_sandbox.CONTAINER_RUNTIME_DIR == "/run/terok"
    with pytest.raises(AttributeError):
        _ = terok_sandbox.nonsense


def test_every_name_is_there_or_says_that_it_is_not():
    for name in terok_sandbox.__all__:
        try:
            assert getattr(terok_sandbox, name) is not None
        except AttributeError as absent:
            assert str(absent) == f"`{name}` of terok_sandbox is not part of this version"


def test_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert detect_host_timezone() == "Asia/Tokyo"
