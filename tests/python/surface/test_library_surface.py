"""The names of the library that front ends import, held against the table of what they expect.

A name may have grown since: the table lists every form of a signature that a front end uses, and one of them must be
what is here, or be accepted by what is here.
"""

import dataclasses
import enum
import importlib
import inspect
import json
import types
from pathlib import Path

import pytest

EXPECTED = json.loads((Path(__file__).parents[2] / "fixtures/surface/terok_lib.json").read_text())
ROWS = [(module, name) for module, names in sorted(EXPECTED.items()) for name in sorted(names)]


def find(module: str, name: str) -> object:
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


def accepts(owner: object, form: list[list[str]]) -> bool:
    """Whether a call as the form allows, with the fewest and with the most arguments, is taken."""
    # A wrapper takes more than it shows: calls of 0.7.9.
    signature = inspect.signature(owner, follow_wrapped=False)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    signature = signature.replace(parameters=parameters)
    for chosen in ([p for p in form if len(p) == 2], form):
        positional = [None for _, kind, *_ in chosen if kind.startswith("positional")]
        named = {name: None for name, kind, *_ in chosen if kind == "keyword_only"}
        try:
            signature.bind(*positional, **named)
        except TypeError:
            return False
    return True


def is_of_kind(value: object, kind: str) -> bool:
    if kind == "module":
        return isinstance(value, types.ModuleType)
    if kind in ("constant", "type_alias"):
        return not isinstance(value, type) and not inspect.isfunction(value)
    if kind == "function":
        return callable(value) and not isinstance(value, type)
    bases = {"exception": Exception, "enum": enum.Enum}
    return isinstance(value, type) and issubclass(value, bases.get(kind, object))


def fields(owner: type) -> set[str]:
    if dataclasses.is_dataclass(owner):
        return {f.name for f in dataclasses.fields(owner)}
    if hasattr(owner, "model_fields"):
        return {*owner.model_fields, *owner.model_computed_fields}
    return set(owner.__annotations__)


@pytest.mark.parametrize(("module", "name"), ROWS)
def test_a_name_is_what_front_ends_expect(module: str, name: str) -> None:
    value, row = find(module, name), EXPECTED[module][name]
    assert is_of_kind(value, row["kind"])
    if row["kind"] == "function":
        assert [form for form in row.get("forms", ()) if not accepts(value, form)] == []
    if "fields" in row:
        assert [f for f in row["fields"] if f not in fields(value) and not hasattr(value, f)] == []
    if "members" in row:
        assert {member.name: member.value for member in value} == row["members"]
    if "has" in row and row["kind"] != "constant":
        assert [member for member in row["has"] if not hasattr(value, member) and member not in fields(value)] == []
    if "value" in row:
        assert value == row["value"]


def test_every_public_name_is_one_object() -> None:
    package = importlib.import_module("terok.lib.api")
    for module, names in EXPECTED.items():
        if module.startswith("terok.lib.api."):
            here = importlib.import_module(module)
            for name in set(names) & set(package.__all__):
                assert getattr(here, name) is getattr(package, name), (module, name)
