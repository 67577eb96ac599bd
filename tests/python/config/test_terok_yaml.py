"""YAML that is changed and written again."""

import threading
from datetime import date

import pytest
from terok.lib.util import yaml

TEXT = """# top
project:
  id: "a"   # quoted
  name: 'b'

# about git
git:
  upstream_url: https://x/y  # where
  zero: 0o17
"""


def test_comments_order_and_quotes_stay():
    data = yaml.load(TEXT)
    assert isinstance(data, dict) and data["git"]["zero"] == 15
    assert yaml.dump(data) == TEXT
    data["git"]["upstream_url"] = "https://z"
    data.setdefault("image", {})["agents"] = "claude"
    data["tags"] = ["a", "b"]
    assert (
        yaml.dump(data) == TEXT.replace("https://x/y ", "https://z   ") + "image:\n  agents: claude\ntags:\n- a\n- b\n"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: yes\nb: off\n", {"a": "yes", "b": "off"}),
        ("a: 0o17\nb: 017\n", {"a": 15, "b": 17}),
        ("a: 2020-01-02\n", {"a": date(2020, 1, 2)}),
        ("a:\n", {"a": None}),
        ("- 1\n- x\n", [1, "x"]),
    ],
)
def test_reading(text, value):
    assert yaml.load(text) == value


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a:\n\tb: 1\n", "a: [1,\n", "---\na: 1\n---\nb: 2\n", "a: *x\n", "a: 2020-13-45\n", "a: b: c\n"],
)
def test_everything_else_is_one_kind_of_error(text):
    with pytest.raises(yaml.YAMLError):
        yaml.load(text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "null\n...\n"),
        ({"a": None}, "a:\n"),
        ({"a": "true", "b": "1", "c": "2020-01-01", "d": "yes"}, "a: 'true'\nb: '1'\nc: '2020-01-01'\nd: yes\n"),
        ({"a": [1, {"b": 2}]}, "a:\n- 1\n- b: 2\n"),
        ({}, "{}\n"),
    ],
)
def test_writing(data, text):
    assert yaml.dump(data) == text


def test_flow_style_and_long_lines():
    assert yaml.dump({"a": [1, 2]}, default_flow_style=True) == "{a: [1, 2]}\n"
    assert max(map(len, yaml.dump({"a": "word " * 60}).splitlines())) <= 85


def test_threads_do_not_meet():
    found = []
    threads = [threading.Thread(target=lambda: found.append(yaml.dump(yaml.load(TEXT)))) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [TEXT] * 8
