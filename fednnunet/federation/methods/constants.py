"""What a method is made of, as plain JSON: so that a run is not continued with other constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

_WORDS = frozenset({"about", "words"})


def constants(value: object) -> Any:
    """A value, with all that it is made of; functions and classes stand as their names.

    The texts that describe a method do not count, since they change nothing. Raises TypeError for
    a value that could not be told from another of its kind.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): constants(item) for key, item in sorted(value.items())}
    if isinstance(value, (tuple, list)):
        return [constants(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, partial):
        return [constants(value.func), constants(value.args), constants(value.keywords)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.name not in _WORDS]
        return [_name(type(value)), {name: constants(getattr(value, name)) for name in fields}]
    return _name(value)


def _name(value: object) -> str:
    name = getattr(value, "__qualname__", None)
    if name is None or "<" in name:  # of a function without a name, or within another
        raise TypeError(f"{value!r} of a method is neither a frozen value nor a named function")
    return f"{getattr(value, '__module__', '')}.{name}"
