"""Adopting front ends: what is taken of a wheel, what is refused, and the wheel that pip gets."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest
from terok.adopt import command, repack, stock

INFO = "terok-0.8.0.dist-info"
METADATA = """Metadata-Version: 2.3
Name: terok
Version: {version}
License-Expression: Apache-2.0
Requires-Python: >=3.12
Requires-Dist: rich (>=13.0)
Requires-Dist: textual[syntax] (==8.2.5)
Requires-Dist: terok-sandbox (>=0.1.0,<0.2.0)
Requires-Dist: ruamel.yaml (>=0.18)
"""
FILES = {
    "terok/tui/app.py": b"print('tui')\n",
    "terok/cli/main.py": b"print('cli')\n",
    "terok/lib/api.py": b"print('their library')\n",
    "terok/resources/tmux/host-tmux.conf": b"set -g mouse on\n",
    "terok/resources/presets/solo.yml": b"model: x\n",
}


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def wheel(folder: Path, *, version: str = "0.8.0", said: dict[str, bytes] | None = None, **changed: bytes) -> Path:
    """A wheel as the stock one is; *said* is what its record tells of instead."""
    scripts = "[console_scripts]\nterok=terok.cli.main:main\n"
    files = {**FILES, f"{INFO}/entry_points.txt": scripts.encode()}
    files |= {name.replace("__", "/").replace("_py", ".py"): content for name, content in changed.items()}
    path = folder / "stock.whl"
    with zipfile.ZipFile(path, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
        out.writestr(f"{INFO}/METADATA", METADATA.format(version=version))
        rows = [f"{n},sha256={digest(c)},{len(c)}" for n, c in {**files, **(said or {})}.items()]
        out.writestr(f"{INFO}/RECORD", "\n".join([*rows, f"{INFO}/RECORD,,", ""]))
    return path


def test_the_front_ends_and_what_they_read_are_taken_and_nothing_of_the_library(tmp_path: Path) -> None:
    found = stock.read(wheel(tmp_path))
    assert sorted(found.files) == [
        "terok/resources/tmux/host-tmux.conf",
        "terok_front_ends/terok/cli/main.py",
        "terok_front_ends/terok/tui/app.py",
    ]
    assert found.requirements() == ["rich (>=13.0)", "textual[syntax] (==8.2.5)"]


def test_the_wheel_for_pip_is_whole_and_always_the_same(tmp_path: Path) -> None:
    found = stock.read(wheel(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = repack.write(found, tmp_path / "a"), repack.write(found, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as made:
        record = dict(line.split(",")[:2] for line in made.read(f"{INFO}/RECORD").decode().splitlines())
        names = set(made.namelist())
        assert set(record) == names and record.pop(f"{INFO}/RECORD") == ""
        assert all(record[name] == f"sha256={digest(made.read(name))}" for name in record)
        metadata = made.read(f"{INFO}/METADATA").decode()
    assert "Requires-Dist: terok-rs" in metadata and "terok-sandbox" not in metadata and ">=3.11" in metadata


def test_what_is_no_stock_wheel_is_refused_with_its_reason(tmp_path: Path) -> None:
    text = tmp_path / "text.whl"
    text.write_text("no zip")
    cases = {
        "cannot be read as a wheel": text,
        "holds terok 9.9.9": wheel(tmp_path, version="9.9.9"),
    }
    for words, path in cases.items():
        with pytest.raises(stock.NotTheFrontEnds, match=words):
            stock.read(path)
    with pytest.raises(stock.NotTheFrontEnds, match="differs from the wheel's own record"):
        stock.read(wheel(tmp_path, said={"terok/tui/app.py": b"something else"}))
    with pytest.raises(stock.NotTheFrontEnds, match=r"entry_points\.txt` differs"):
        stock.read(wheel(tmp_path, said={f"{INFO}/entry_points.txt": b"[console_scripts]\nterok=evil:main\n"}))
    with pytest.raises(stock.NotTheFrontEnds, match="leaves its folder"):
        stock.read(wheel(tmp_path, **{"terok/tui/../../evil.py": b"x"}))
    with pytest.raises(SystemExit, match=r"cannot adopt the front ends: .*text\.whl"):
        command.main(["--from", str(text)])


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_wheel_is_refused_and_never_a_traceback(tmp_path: Path, seed: int) -> None:
    import random

    chance = random.Random(seed)
    packed = tmp_path / "packed.whl"
    with zipfile.ZipFile(wheel(tmp_path)) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name in plain.namelist():
            out.writestr(name, plain.read(name) * (40 if name.endswith("app.py") else 1))
    content = bytearray(packed.read_bytes())
    for _ in range(8):
        content[chance.randrange(len(content))] = chance.randrange(256)
    packed.write_bytes(content)
    with pytest.raises(stock.NotTheFrontEnds):
        stock.read(packed)


def test_a_library_that_pip_would_take_away_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / INFO
    info.mkdir()
    (info / "METADATA").write_text(METADATA.format(version="0.8.0"))
    (tmp_path / "terok/lib").mkdir(parents=True)
    (tmp_path / "terok/lib/api.py").touch()
    (info / "RECORD").write_text("terok/lib/api.py,,\nterok/tui/app.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(command, "_pip", lambda *_: pytest.fail("pip was called"))
    with pytest.raises(SystemExit, match=r"terok 0\.8\.0 is installed here with a library of its own"):
        command.main(["--from", str(wheel(tmp_path))])
    (info / "RECORD").write_text("terok_front_ends/terok/tui/app.py,,\n")
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="has no pip"):
        command.main(["--from", str(wheel(tmp_path))])
