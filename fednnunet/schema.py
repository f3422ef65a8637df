"""JSON schema of a frozen dataclass, for people and editors that write such files by hand."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string"}


def json_schema(kind: type, *, title: str) -> dict[str, Any]:
    """The schema (draft 2020-12) of the files that `records.read(kind, ...)` takes."""
    definitions: dict[str, Any] = {}
    schema = _of(kind, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **schema,
        "$defs": dict(sorted(definitions.items())),
    }


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return _of(arguments[0], definitions)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, definitions)
    if origin is tuple:
        return _items(arguments, definitions)
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        options = [_of(a, definitions) for a in arguments if a is not type(None)]
        empty = [{"type": "null"}] if type(None) in arguments else []
        return {"anyOf": [*options, *empty]}
    return {"type": _SCALARS[kind]} if kind in _SCALARS else {}


def _record(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/$defs/{kind.__name__}"}
    if kind.__name__ in definitions:
        return reference
    definitions[kind.__name__] = {}  # a record may hold itself
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = [f for f in dataclasses.fields(kind) if f.init]
    needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    definitions[kind.__name__] = {
        "type": "object",
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "properties": {f.name: _of(hints[f.name], definitions) for f in fields},
        "required": needed,
        "additionalProperties": False,
    }
    return reference


def _items(arguments: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    return {
        "type": "array",
        "prefixItems": [_of(argument, definitions) for argument in arguments],
        "minItems": len(arguments),
        "maxItems": len(arguments),
    }
