"""YAML that is read, changed and written again: comments, order and quotes stay.

The rules are those of YAML 1.2. A parser serves one call, so that threads do not meet in one. For reading alone there
is the engine, which is much faster.
"""

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

__all__ = ["YAMLError", "dump", "load"]


def _rt() -> YAML:
    parser = YAML(typ="rt")
    parser.preserve_quotes = True
    return parser


def load(text: str) -> Any:
    """Return the one document of *text*; mappings and lists remember how they were written.

    Raises :class:`YAMLError` for everything that is no such document, whatever the parser made of it.
    """
    try:
        return _rt().load(text)
    except YAMLError:
        raise
    except Exception as odd:
        # Dates that do not exist and nesting without end surface as errors of other classes.
        raise YAMLError(f"{type(odd).__name__}: {odd}") from odd


def dump(data: Any, *, default_flow_style: bool = False) -> str:
    """Return *data* as one document; texts that would be read as something else are quoted."""
    parser = _rt()
    parser.default_flow_style = default_flow_style
    out = io.StringIO()
    parser.dump(data, out)
    return out.getvalue()
