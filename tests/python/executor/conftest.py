"""A fake podman on PATH: it logs its argv and answers from a table."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

_PROGRAM = """#!/usr/bin/python3 -S
import json, os, sys
root = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(root, "argv.jsonl"), "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
with open(os.path.join(root, "answers.json")) as source:
    answers = json.load(source)
for words, answer in answers:
    if sys.argv[1 : 1 + len(words)] == words:
        sys.stdout.write(answer.get("stdout", ""))
        sys.stdout.flush()
        sys.stderr.write(answer.get("stderr", ""))
        sys.stderr.flush()
        if answer.get("sleep"):
            import time
            time.sleep(answer["sleep"])
        sys.exit(answer.get("code", 0))
sys.exit(125)
"""


class FakePodman:
    """Answers by the first words of the call; unknown calls end with 125, as podman's own failures do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "podman"
        program.write_text(_PROGRAM)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self._answers: list[tuple[list[str], dict]] = []
        self._save()

    def answer(self, *words: str, **answer: object) -> None:
        self._answers.append((list(words), answer))
        self._save()

    def _save(self) -> None:
        (self.folder / "answers.json").write_text(json.dumps(self._answers))

    @property
    def calls(self) -> list[list[str]]:
        log = self.folder / "argv.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def podman(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return FakePodman(folder)


@pytest.fixture
def no_podman(tmp_path, monkeypatch):
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
