"""The classes of both documents against the engine's checks, and their JSON schemas."""

import functools
import json
import random
from pathlib import Path

import pytest
from pydantic import ValidationError
from terok.lib.core.yaml_schema import RawGlobalConfig, RawProjectYaml
from terok_native import _lib

FIXTURES = Path(__file__).parents[2] / "fixtures" / "config"
CLASSES = {"global": RawGlobalConfig, "project": RawProjectYaml}
CASES = json.loads((FIXTURES / "document_cases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case["given"])[:60])
def test_both_sides_say_the_same(case):
    checked, errors = _lib.project_validate(case["document"], case["given"])
    try:
        model = CLASSES[case["document"]].model_validate(case["given"])
    except ValidationError as refused:
        theirs = [(list(map(str, e["loc"])), e["msg"], e["type"]) for e in refused.errors()]
        assert theirs == [(e["path"], e["message"], e["kind"]) for e in errors]
        assert [f"{'.'.join(path)}: {message}" for path, message, _ in theirs] == case["errors"]
    else:
        assert errors == [] and model.model_dump() == checked and "errors" not in case


ODD = [
    None, True, False, 0, 1, 2, -1, 1.0, 0.5, 65536, 1e300, "", " ", "yes", "off", "1", " 7 ", "1_0", "5.0", "x", "a\nb", "up",
    "ONLINE", "4g", "4 GiB ", [], ["a"], ["a", 1], {}, {"a": 1}, {"enabled": 3}, "it's", 'say "x"', "\x1b", "é", [None], 10**12,
]  # fmt: skip


@pytest.mark.parametrize("document", CLASSES)
def test_both_sides_say_the_same_about_odd_values(document):
    # Every key with every odd value; then many keys at once, so that the order of errors counts as well.
    keys = [path for path, _ in leaves(_lib.project_schema(document))]
    for path in keys:
        for value in ODD:
            compare(document, functools.reduce(lambda inner, part: {part: inner}, reversed(path), value))
    dice = random.Random(4)
    for _ in range(200):
        given: dict = {}
        for path in dice.sample(keys, dice.randint(1, 6)) + [("unknown",)] * (dice.random() < 0.2):
            owner = given
            for part in path[:-1]:
                inner = owner.setdefault(part, {})
                owner = inner if isinstance(inner, dict) else owner.__setitem__(part, {}) or owner[part]
            owner[path[-1]] = dice.choice(ODD)
        compare(document, json.loads(json.dumps(given)))


def compare(document, given):
    checked, errors = _lib.project_validate(document, given)
    try:
        model = CLASSES[document].model_validate(given)
    except ValidationError as refused:
        theirs = [(list(map(str, e["loc"])), e["msg"], e["type"]) for e in refused.errors()]
        assert theirs == [(e["path"], e["message"], e["kind"]) for e in errors], given
    else:
        assert errors == [] and model.model_dump() == checked, given


def leaves(table, path=()):
    for field in table["fields"]:
        yield (*path, field["name"]), field
        if "section" in field:
            yield from leaves(field["section"], (*path, field["name"]))


def resolve(schema, root):
    if "allOf" in schema and len(schema["allOf"]) == 1:
        schema = schema["allOf"][0]
    return root["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


@pytest.mark.parametrize("document", CLASSES)
def test_schemas_hold_every_key(document):
    schema = json.loads(json.dumps(CLASSES[document].model_json_schema()))
    assert schema["additionalProperties"] is False
    for path, field in leaves(_lib.project_schema(document)):
        owner = schema
        for part in path[:-1]:
            owner = resolve(owner["properties"][part], schema)
        assert owner["additionalProperties"] is False, path
        entry = owner["properties"][path[-1]]
        assert entry.get("description") or resolve(entry, schema)["description"], path
        if field["shape"] not in ("section", "mapping", "texts"):
            assert entry["default"] == field["default"], path
        if "choices" in field and field["shape"] == "one_of":
            assert field["choices"] in [kind.get("enum") for kind in [entry, *entry.get("anyOf", [])]], path
        if field["purpose"] and path[:-1]:
            assert entry.get("description", field["purpose"]) == field["purpose"], path


def test_the_classes_are_models_like_any_other():
    model = RawProjectYaml(project={"id": "a"})
    assert model.model_dump(exclude_none=True)["project"] == {
        "id": "a", "security_class": "gatekeeping", "isolation": "shared",
    }  # fmt: skip
    assert RawProjectYaml.__name__ == "RawProjectYaml" and RawGlobalConfig.__bases__[0].__name__ == "ExecutorConfigView"
    with pytest.raises(ValidationError, match="Extra inputs"):
        RawGlobalConfig(tuii={})
    given = {"run": {"hooks": None}, "gatekeeping": None}
    RawProjectYaml.model_validate(given)
    assert given == {"run": {"hooks": None}, "gatekeeping": None}, "what is checked stays as it is"


# improves: 30-6.3-timeout-bounded
def test_no_time_before_the_kill_is_negative():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        RawProjectYaml.model_validate({"run": {"shutdown_timeout": -1}})
    assert _lib.project_validate("project", {"run": {"shutdown_timeout": -1}})[1]
    assert RawProjectYaml.model_validate({"run": {"shutdown_timeout": 0}}).run.shutdown_timeout == 0
