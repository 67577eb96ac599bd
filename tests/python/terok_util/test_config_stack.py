"""Layered configuration: the same table that the engine is tested with."""

import dataclasses
import json
from datetime import date
from pathlib import Path

import pytest
from terok_util import ConfigStack, deep_merge
from terok_util.config_stack import ConfigScope, load_json_scope, load_yaml_scope

FIXTURES = Path(__file__).parents[2] / "fixtures" / "config"


def cases(name):
    return [pytest.param(case, id=case["name"]) for case in json.loads((FIXTURES / name).read_text())]


# improves: 30-5.2-merge-order
@pytest.mark.parametrize("case", cases("merge_cases.json"))
def test_merging(case):
    base, over = json.dumps(case["base"]), json.dumps(case["over"])
    merged = deep_merge(case["base"], case["over"])
    assert json.dumps(merged) == json.dumps(case["result"]), "content and order"
    assert (json.dumps(case["base"]), json.dumps(case["over"])) == (base, over), "arguments stay as they are"


@pytest.mark.parametrize("case", cases("stack_cases.json"))
def test_stack(case):
    stack = ConfigStack()
    for data in case["layers"]:
        stack.push(ConfigScope("x", None, data))
    assert stack.resolve() == case["resolve"]
    assert stack.resolve_section("s") == case["section_s"]


def test_results_share_no_container():
    base, over = {"a": {"l": [[1]]}, "b": [2]}, {"c": {"d": []}}
    merged = deep_merge(base, over)
    merged["a"]["l"][0].append(9)
    merged["b"].append(9)
    merged["c"]["d"].append(9)
    assert (base, over) == ({"a": {"l": [[1]]}, "b": [2]}, {"c": {"d": []}})


def test_values_that_json_cannot_hold():
    day = date(2026, 1, 2)
    assert deep_merge({"a": (1, 2)}, {"b": day, 3: {4}}) == {"a": (1, 2), "b": day, 3: {4}}


def test_scopes_are_frozen_and_listed_afresh():
    scope = ConfigScope("user", Path("/x"), {"a": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        scope.level = "y"
    stack = ConfigStack()
    stack.push(scope)
    stack.scopes.clear()
    assert stack.scopes == [scope]


@pytest.mark.parametrize(
    ("load", "text", "data"),
    [
        (load_yaml_scope, None, {}),
        (load_yaml_scope, " \n", {}),
        (load_yaml_scope, "a: yes\nb: [1, 2.5, null]\n", {"a": "yes", "b": [1, 2.5, None]}),
        (load_json_scope, None, {}),
        (load_json_scope, "\n", {}),
        (load_json_scope, '{"a": [1]}', {"a": [1]}),
    ],
)
def test_loading(tmp_path, load, text, data):
    path = tmp_path / "f"
    if text is not None:
        path.write_text(text)
    assert load("user", path) == ConfigScope("user", path, data)


@pytest.mark.parametrize(
    ("load", "text"),
    [(load_yaml_scope, "- 1\n"), (load_yaml_scope, "a: [\n"), (load_json_scope, "[1]"), (load_json_scope, "{")],
)
def test_unusable_files_are_named(tmp_path, load, text):
    path = tmp_path / "broken.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yml"):
        load("user", path)
