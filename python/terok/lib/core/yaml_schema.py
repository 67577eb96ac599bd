"""``config.yml`` and ``project.yml`` as pydantic classes.

They are made from the engine's tables, which are what files are checked with; sections that lower layers read as well
are the classes of those layers. A section that is null counts as empty.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from terok_executor import config_schema as _executor
from terok_executor.config_schema import ExecutorConfigView, RawImageSection
from terok_native import _lib
from terok_native.kept import kept
from terok_sandbox import config_schema as _sandbox
from terok_sandbox.config_schema import RawHooksSection, RawRunSection, RawSSHSection

__all__ = [
    "ExecutorConfigView",
    "RawGlobalConfig",
    "RawHooksSection",
    "RawImageSection",
    "RawProjectYaml",
    "RawRunSection",
    "RawSSHSection",
]

_TYPES: dict[str, Any] = {
    "text": str,
    "flag": bool,
    "texts": list[str],
    "mapping": dict[str, Any],
    "flag_or_text": bool | str,
    "text_or_flag": str | bool,
}


def _type(field: dict[str, Any]) -> Any:
    """Return the annotation of one key of the table, without what its being optional adds."""
    match field["shape"]:
        case "number":
            low, high = field["limits"]
            return Annotated[int, Field(ge=low, le=high)]
        case "one_of":
            return Literal[tuple(field["choices"])]
        case "folded" | "identifier":
            return Annotated[str, AfterValidator(_coercion(field))]
        case "memory" | "cpus":
            return Annotated[str, BeforeValidator(_coercion(field))]
        case "categories":
            return list[str]
        case "section":
            return _section_class(field["section"])
    return _TYPES[field["shape"]]


def _coercion(field: dict[str, Any]) -> Any:
    """Return a validator that asks the engine; its ``ValueError`` becomes pydantic's."""
    name, shape, choices = field["name"], field["shape"], field.get("choices", [])
    return lambda value: _lib.project_coerce(name, shape, choices, value)


def _definition(field: dict[str, Any]) -> tuple[Any, Any]:
    """Return annotation and default of one key, as ``create_model`` takes them."""
    kind = _type(field)
    if field["nullable"]:
        kind = kind | None
    match field["shape"]:
        case "section":
            return kind, Field(default_factory=kind, description=field["purpose"])
        case "mapping" if not field["nullable"]:
            return kind, Field(default_factory=dict, description=field["purpose"])
        case "texts":
            return kind, Field(default_factory=list, description=field["purpose"])
        case "categories":
            kind = Annotated[kind, BeforeValidator(_coercion(field))]
    return kind, Field(default=field["default"], description=field["purpose"])


def _fill_null(table: dict[str, Any]) -> Any:
    """Return the validator that lets a section, or a free mapping, be null."""
    names = {field["name"] for field in table["fields"] if _is_mapping(field)}

    def fill(cls: type, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: {} if inner is None and key in names else inner for key, inner in value.items()}

    decorate: Any = model_validator(mode="before")
    return decorate(classmethod(fill))


def _is_mapping(field: dict[str, Any]) -> bool:
    return field["shape"] == "section" or (field["shape"] == "mapping" and not field["nullable"])


def _section_class(table: dict[str, Any]) -> type[BaseModel]:
    """Return the class of a section: a lower layer's own if it has the same keys, else one made from the table."""
    names = {field["name"] for field in table["fields"]}
    for layer in (_sandbox, _executor):
        lower = getattr(layer, table["class"], None)
        if lower is not None and set(lower.model_fields) == names:
            return lower
    made = globals().get(table["class"])
    return made or globals().setdefault(table["class"], _class(table, BaseModel))


def _class(table: dict[str, Any], base: type[BaseModel]) -> type[BaseModel]:
    """Return the class of a table; keys that *base* has are taken from there."""
    own = [field for field in table["fields"] if field["name"] not in base.model_fields]
    definitions = {field["name"]: _definition(field) for field in own}
    members = {
        "__module__": __name__,
        "__qualname__": table["class"],
        "__doc__": table["purpose"],
        "__annotations__": {name: kind for name, (kind, _) in definitions.items()},
        "model_config": ConfigDict(extra="forbid"),
        **{name: default for name, (_, default) in definitions.items()},
    }
    if any(map(_is_mapping, table["fields"])):
        members["_fill_null"] = _fill_null(table)
    metaclass: Any = type(BaseModel)
    return kept(metaclass(table["class"], (base,), members))


RawGlobalConfig: Any = _class(_lib.project_schema("global"), ExecutorConfigView)
RawProjectYaml: Any = _class(_lib.project_schema("project"), BaseModel)
