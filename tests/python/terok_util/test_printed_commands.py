"""Every command that is printed can be pasted, whatever its values are."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from terok_util.shell import command_line

ROOT = Path(__file__).parents[3]
HOSTILE = ["", "x;touch${IFS}/tmp/never;#", "it's `id` $(id)", "a\nb\x1b[2J\u202e", "-rf", b"\xff\xe9 x", Path("/a b")]


def _tool():
    spec = importlib.util.spec_from_file_location("printed_commands", ROOT / "tools/printed_commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _tool()


# holds: printed-commands-paste
def test_command_survives_a_shell_when_words_are_hostile() -> None:
    printed = command_line("printf", "%s\\0", *HOSTILE, 7)
    assert printed.isprintable()
    seen = subprocess.run(["bash", "-c", printed], capture_output=True, check=True).stdout
    wanted = [w if isinstance(w, bytes) else str(w).encode() for w in [*HOSTILE, 7]]
    assert seen.split(b"\0")[:-1] == wanted


def test_plain_words_stay_as_they_are() -> None:
    assert command_line("terok", "task", "run", "proj-1", "--prompt", "do it") == "terok task run proj-1 --prompt 'do it'"


@pytest.mark.parametrize(
    "source",
    [
        'f"hint: end it with `podman rm -f {name}`"',
        'f"take it: git fetch {path} {name}"',
        'f"Bring it back with: terok task restart {project} {task}"',
        '"hint: `terok auth {name}`".format(name=name)',
        '"run `podman logs %s`" % name',
        '"`rm " + path + "`"',
        '" ".join(["podman", "stop", name])',
        'f"`{\' \'.join(argv)}` failed"',
        'f"sudo usermod {options} {user} && podman system migrate"',
        'f"`{program} --fix`"',
        'f"cd x && git clone {shlex.quote(url)}"',
    ],
)
def test_python_command_is_found_when_a_value_is_spelled_into_it(source: str) -> None:
    assert list(tool.python_findings(source))


@pytest.mark.parametrize(
    "source",
    [
        'f"hint: end it with `{command_line(\'podman\', \'rm\', name)}`"',
        'f"git refused the branch {name}"',
        'f"`git push` failed: {error}"',
        'f"podman printed {text}"',
        'f"cat {_CONSTANT}"',
        'f"`{name}` is not there"',
        '"""Runs `podman stop {name}`."""',
    ],
)
def test_python_text_is_no_finding_when_no_value_is_in_a_command(source: str) -> None:
    assert not list(tool.python_findings(source))


def test_rust_commands_are_found_by_the_same_rule() -> None:
    bad = (
        'format!("remove it with `podman rm -f {name}`")',
        '#[error("use `git fetch {} {}`", .0, .1)]',
        'format!(\n    "hint: sudo \\\n     chown {uid} {}", path.display())',
        'let x = r#"`terok task stop {id}`"#;',
    )
    good = (
        'format!("remove it with `{}`", command_line(["podman", "rm", name]))',
        "// remove it with `podman rm {name}`",
        'format!("`$(cat {PROMPT_PATH})`")',
        'format!("git clone --mirror failed: {0}")',
        'format!("`podman ps` printed {{}}: {text}")',
        'x();\n#[cfg(test)]\nmod tests {\n    format!("`podman rm {name}`");\n}',
    )
    assert all(list(tool.rust_findings(source)) for source in bad)
    assert not any(list(tool.rust_findings(source)) for source in good)


# holds: printed-commands-paste
def test_no_file_of_the_project_spells_values_into_a_printed_command() -> None:
    files = [p for part in ("python", "demo", "src") for p in (ROOT / part).rglob("*.*") if p.suffix in (".py", ".rs")]
    product = [p for p in files if "tests" not in p.parts and not p.stem.endswith("_test")]
    assert len(product) > 300
    found = [f"{p.relative_to(ROOT)}:{line}: {text!r}" for p in product for line, text in tool.findings(p)]
    assert not found
