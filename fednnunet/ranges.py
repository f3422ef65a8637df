"""Ranges that stand in the fields of a record and are checked when it is made.

A field `loss: Annotated[float, Within(-1e6, 1e6)]` takes no other number, and one of
`Annotated[tuple[Note, ...], AtMost(64)]` no longer list.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fednnunet.errors import FedNNUNetError
from fednnunet.text import shortened, shown

_MAX_SHOWN = 40  # characters of a number in an error message


@dataclass(frozen=True, slots=True)
class Within:
    """All numbers of a field are finite and lie from `low` to `high`; `None` counts as no number.

    In lists and tables every value is checked.
    """

    low: float
    high: float

    def violation(self, value: Any) -> str:
        """What is wrong with a field's value, or ""."""
        for number in _numbers(value):
            if not self.low <= number <= self.high:  # NaN fails, too
                word = "is" if isinstance(value, (int, float)) else "holds"
                return f"{word} {_shown(number)}, not a number from {self.low:g} to {self.high:g}"
        return ""


@dataclass(frozen=True, slots=True)
class AtMost:
    """A text has at most so many characters, a list or table at most so many entries."""

    length: int

    def violation(self, value: Any) -> str:
        """What is wrong with a field's value, or ""."""
        if not isinstance(value, (str, list, tuple, Mapping)) or len(value) <= self.length:
            return ""
        word = "characters" if isinstance(value, str) else "entries"
        return f"has {len(value)} {word}, more than {self.length}"


def check_ranges(record: Any, error: type[FedNNUNetError], *, mend: str) -> None:
    """Raise `error` naming the first field of a dataclass whose value is out of its range."""
    kind: Any = type(record)
    for name, marks in _marks(kind):
        for mark in marks:
            if fault := mark.violation(getattr(record, name)):
                raise error(f"{name} {fault}", mend=mend)


@cache
def _marks(kind: Any) -> tuple[tuple[str, tuple[Within | AtMost, ...]], ...]:
    """The fields of a dataclass that have a range, and their ranges."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = []
    for field in dataclasses.fields(kind):
        metadata = getattr(hints[field.name], "__metadata__", ())
        marks = tuple(mark for mark in metadata if isinstance(mark, (Within, AtMost)))
        if marks:
            found.append((field.name, marks))
    return tuple(found)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)


def _shown(number: float) -> str:
    if isinstance(number, float):
        return shortened(f"{number:g}", _MAX_SHOWN)
    return shown(number, _MAX_SHOWN)
