"""JSON schema of a frozen dataclass, for editors that complete and check such files.

Descriptions come from the docstrings of classes and fields, defaults from the dataclass itself.
TOML files that are read into the same dataclass follow the same schema.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args, get_origin

from fednnunet import records
from fednnunet.field_docs import field_docs

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string"}


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """Names that a text field may have: `planner: Annotated[str, Names(PLANNERS)]`.

    Only the schema reads it. The class itself must refuse other names, with its own error.
    """

    names: Collection[str]


def json_schema(kind: type, *, title: str) -> dict[str, Any]:
    """The schema (draft 2020-12) of the files that `records.read(kind, ...)` accepts.

    A choice of records (`records.OneOf`) is a name, or a table of a name and settings.
    """
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
        for metadata in kind.__metadata__:
            if isinstance(metadata, Names):
                return {"enum": sorted(metadata.names)}
            if isinstance(metadata, records.OneOf):
                return _choice(metadata, definitions)
        return _of(kind.__origin__, definitions)
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


def _choice(choice: records.OneOf, definitions: dict[str, Any]) -> dict[str, Any]:
    """The name of a preset, or a table that names a kind and has the fields of its record."""
    options: list[dict[str, Any]] = [{"enum": sorted(choice.presets)}]
    for tag, kind in sorted(choice.kinds.items()):
        reference = _record(kind, definitions)
        definitions[kind.__name__]["properties"] = {
            choice.field: {"const": tag},
            **definitions[kind.__name__]["properties"],
        }
        required = definitions[kind.__name__]["required"]
        others = (name for name in required if name != choice.field)
        definitions[kind.__name__]["required"] = [choice.field, *others]
        options.append(reference)
    return {"anyOf": options}


def _record(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/$defs/{kind.__name__}"}
    if kind.__name__ in definitions:
        return reference
    definitions[kind.__name__] = {}  # a record may contain itself
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = [f for f in dataclasses.fields(kind) if f.init]
    required = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    docs = field_docs(kind)
    properties = {}
    for field in fields:
        properties[field.name] = _of(hints[field.name], definitions)
        if field.name in docs:
            properties[field.name]["description"] = docs[field.name]
        if field.name not in required:
            properties[field.name] |= _default(field)
    definitions[kind.__name__] = {
        "type": "object",
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return reference


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """The default of a field as JSON; none for a record, whose fields have their own defaults."""
    factory = field.default_factory
    value = factory() if factory is not dataclasses.MISSING else field.default
    return {} if dataclasses.is_dataclass(value) else {"default": records.encode(value)}


def _items(arguments: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    return {
        "type": "array",
        "prefixItems": [_of(argument, definitions) for argument in arguments],
        "minItems": len(arguments),
        "maxItems": len(arguments),
    }
