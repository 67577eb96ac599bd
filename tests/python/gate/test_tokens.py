"""Tokens and their record."""

import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from terok_sandbox import SandboxConfig, mint_gate_token
from terok_sandbox.gate.tokens import TokenStore


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(SandboxConfig(state_dir=tmp_path / "state"))


def test_a_token_is_random_and_has_its_shape() -> None:
    tokens = {mint_gate_token() for _ in range(100)}
    assert len(tokens) == 100 and all(re.fullmatch(r"terok-g-[0-9a-f]{32}", token) for token in tokens)


def test_create_and_revoke(store: TokenStore) -> None:
    first, second = store.create("proj", "t1"), store.create("proj", "t2")
    text = store.file_path.read_text()
    assert json.loads(text) == {first: {"scope": "proj", "task": "t1"}, second: {"scope": "proj", "task": "t2"}}
    assert text.startswith('{\n  "') and text.endswith("}\n")
    assert stat.S_IMODE(store.file_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.file_path.with_name("tokens.json.lock").stat().st_mode) == 0o600
    assert stat.S_IMODE(store.file_path.parent.stat().st_mode) == 0o700
    for _ in range(2):
        store.revoke_for_task("proj", "t1")
    assert list(json.loads(store.file_path.read_text())) == [second]


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_broken_file_is_moved_aside(store: TokenStore, text: str) -> None:
    store.file_path.parent.mkdir(parents=True)
    store.file_path.write_text(text)
    store.revoke_for_task("proj", "t")
    assert store.file_path.with_name("tokens.json.corrupt").read_text() == text
    assert not store.file_path.exists()


def test_odd_entries_are_left_out_and_trouble_is_told(store: TokenStore) -> None:
    store.file_path.parent.mkdir(parents=True)
    store.file_path.write_text(json.dumps({"a": 1, "b": {"scope": "s"}, "c": {"scope": "s", "task": "t", "x": 1}}))
    made = store.create("proj", "t1")
    assert set(json.loads(store.file_path.read_text())) == {"c", made}
    store.file_path.unlink()
    store.file_path.mkdir()
    with pytest.raises(OSError, match=r"tokens\.json"):
        store.create("proj", "t1")


def test_many_writers_lose_nothing(store: TokenStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda number: store.create("proj", str(number)), range(40)))
    assert set(json.loads(store.file_path.read_text())) == made
