"""The names that callers import, held against the table of what they expect: kinds, parameters, fields, members, verbs."""

import dataclasses
import enum
import inspect
import json
from pathlib import Path

import pytest
import terok_executor

EXPECTED = json.loads((Path(__file__).parents[2] / "fixtures/surface/terok_executor.json").read_text())
PRESENT = sorted(EXPECTED)


def parameters(owner: object) -> list[list[str]] | None:
    """Name, kind and default's text of every parameter but the bound one."""
    try:
        found = inspect.signature(owner).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        [p.name, p.kind.name.lower()] + ([repr(p.default)] if p.default is not p.empty else [])
        for p in found
        if p.name not in ("self", "cls")
    ]


def extends(found: list[list[str]] | None, expected: list[list[str]] | None) -> bool:
    """Return true for the expected parameters, apart from later keywords with a default."""
    if found is None or expected is None:
        return found == expected
    later = [row for row in found if row not in expected]
    return [row for row in found if row in expected] == expected and all(
        len(row) == 3 and row[1] == "keyword_only" for row in later
    )


def is_of_kind(value: object, kind: str) -> bool:
    """Whether a value is what a row of the table calls it; other classes may be built in any way."""
    if kind == "constant":
        return not isinstance(value, type) and not inspect.isfunction(value)
    if kind == "function":
        return callable(value) and not isinstance(value, type)
    bases = {"exception": Exception, "enum": enum.Enum}
    return isinstance(value, type) and issubclass(value, bases.get(kind, object))


def fields(owner: type) -> dict[str, str]:
    """Public fields of a dataclass or model, required or optional."""
    if dataclasses.is_dataclass(owner):
        missing = dataclasses.MISSING
        found = {f.name: f.default is missing and f.default_factory is missing for f in dataclasses.fields(owner)}
    else:
        found = {name: field.is_required() for name, field in owner.model_fields.items()}
    return {name: "required" if required else "optional" for name, required in found.items() if name[0] != "_"}


def shown(command: object) -> dict:
    """A verb as the table has it, without texts for people."""
    arguments = []
    for argument in command.args:
        told = {name: getattr(argument, name, None) for name in ("name", "action", "default", "dest", "nargs")}
        told |= {"required": argument.required, "type": "<callable>" if argument.type else None}
        arguments.append({name: value for name, value in told.items() if value not in (None, False)})
    children = [shown(child) for child in command.children]
    return {"name": command.name, "args": arguments} | ({"children": children} if children else {})


@pytest.mark.parametrize("name", PRESENT)
def test_a_name_is_what_callers_expect(name):
    value, row = getattr(terok_executor, name), EXPECTED[name]
    assert is_of_kind(value, row["kind"])
    if "parameters" in row:
        assert extends(parameters(value), row["parameters"])
    if "fields" in row:
        assert row["fields"].items() <= fields(value).items()
    if "value" in row:
        assert (list(value) if isinstance(value, tuple) else value) == row["value"]
    if "keys" in row:
        assert sorted(value) == row["keys"]
    if row["kind"] == "enum":
        assert {member.name: member.value for member in value} == row["members"]


@pytest.mark.parametrize("name", [n for n in PRESENT if EXPECTED[n]["kind"] != "enum" and "members" in EXPECTED[n]])
def test_its_members_are_too(name):
    for member, row in EXPECTED[name]["members"].items():
        value = inspect.getattr_static(getattr(terok_executor, name), member)
        if row["kind"] in ("staticmethod", "classmethod"):
            assert type(value).__name__ == row["kind"], member
            value = value.__func__
        elif row["kind"] == "property":
            assert hasattr(type(value), "__get__"), member
        if "parameters" in row:
            assert extends(parameters(value), row["parameters"]), member


def test_the_verbs_and_their_arguments():
    expected = EXPECTED["AGENT_COMMANDS"]["commands"]
    found = [shown(command) for command in terok_executor.AGENT_COMMANDS]
    for command, row in zip(found, expected, strict=True):
        # Options may have been added since.
        later = [a for a in command["args"] if a not in row["args"]]
        assert all(a["name"].startswith("--") and "required" not in a for a in later), later
        command["args"] = [a for a in command["args"] if a in row["args"]]
    assert found == expected


def test_no_name_is_missing():
    assert [name for name in EXPECTED if not hasattr(terok_executor, name)] == []
