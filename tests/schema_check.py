"""A small structural check of JSON against the schemas that `fednnunet.schema` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def faults(schema: dict[str, Any], data: Any) -> list[str]:
    """Every place where `data` does not follow the schema; empty if it does."""
    return list(_faults(schema, data, schema["$defs"], "$"))


def _faults(schema: dict[str, Any], data: Any, defs: dict[str, Any], at: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _faults(defs[schema["$ref"].removeprefix("#/$defs/")], data, defs, at)
    if "anyOf" in schema and all(list(_faults(s, data, defs, at)) for s in schema["anyOf"]):
        yield f"{at}: none of the options"
    if "enum" in schema and data not in schema["enum"]:
        yield f"{at}: {data!r} is not one of {schema['enum']}"
    if "const" in schema and data != schema["const"]:
        yield f"{at}: {data!r} is not {schema['const']!r}"
    if "type" in schema and not _is(data, schema["type"]):
        yield f"{at}: {data!r} is no {schema['type']}"
    elif isinstance(data, dict):
        yield from _table_faults(schema, data, defs, at)
    elif isinstance(data, list):
        items = schema.get("prefixItems") or [schema.get("items", {})] * len(data)
        if len(items) != len(data):
            yield f"{at}: {len(data)} items"
        for i, (kind, item) in enumerate(zip(items, data, strict=False)):
            yield from _faults(kind, item, defs, f"{at}[{i}]")


def _table_faults(
    schema: dict[str, Any], data: dict[str, Any], defs: dict[str, Any], at: str
) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{at}: no {name}" for name in schema.get("required", ()) if name not in data)
    for name, item in data.items():
        if name in known or isinstance(others, dict):
            yield from _faults(known.get(name, others), item, defs, f"{at}.{name}")
        elif not others:
            yield f"{at}: unknown {name}"


def _is(data: Any, kind: str) -> bool:
    return isinstance(data, _TYPES[kind]) and (kind == "boolean" or not isinstance(data, bool))
