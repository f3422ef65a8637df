"""Frozen dataclasses as JSON, strictly: unknown, missing and mistyped fields are all reported.

An integer is accepted for a float; nothing else is converted. Every fault names its place
(`$.configurations[0].patch_vox`), and all faults of a file are reported in one error.

A field that was renamed is listed in its class, so that the error for the old name gives the new:
`renamed: ClassVar[Mapping[str, str]] = {"closing_rounds": "public_rounds"}`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.files import write_text
from fednnunet.ranges import AtMost
from fednnunet.text import choices, shown

Record = TypeVar("Record")

DEEPEST = 64  # levels of lists and tables that a file may have
_LARGEST = 2**63  # whole numbers are below: nothing counts further
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes, as file systems have it

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_MAX_FAULTS = 100  # of one record; further faults are not looked for


class _TooManyFaultsError(Exception):
    """Ends the reading of a record."""


@dataclasses.dataclass(frozen=True, slots=True)
class OneOf:
    """Metadata of a field that holds one of several kinds of record: `Annotated[Base, OneOf(...)]`.

    In a file the value is a table whose `name` is a key of `kinds` and whose other fields are those
    of that kind, or just the name of one of `presets`, each a whole value. Every kind has a class
    variable `tag` equal to its key, which is what `encode` writes as `name`. Where `field` is
    another word than `name`, the kinds have it as their class variable `tag_field`.
    """

    word: str
    kinds: Mapping[str, type]
    presets: Mapping[str, Any]
    field: str = "name"

    def preset(self, name: str) -> Any:
        """The value that a name stands for; raises InputError with the choices."""
        if name not in self.presets:
            raise InputError(f"there is no {self.word} {name!r}", mend=choices(name, self.presets))
        return self.presets[name]


def tag_field(kind: type) -> str:
    """The field of a file that names a kind of record among several."""
    return str(getattr(kind, "tag_field", "name"))


def encode(value: Any) -> Any:
    """Turn a dataclass (or tuple, dict, scalar) into values for `json.dumps`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        tag = getattr(type(value), "tag", None)
        return {tag_field(type(value)): tag, **fields} if isinstance(tag, str) else fields
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def decode(kind: type[Record], data: Any, *, source: str = "") -> Record:
    """Build a `kind` from parsed JSON or TOML; `source` names the file in errors."""
    faults: list[FedNNUNetError] = []
    if is_too_deep(data):
        raise InputError(
            f"{source or kind.__name__} is nested more than {DEEPEST} deep",
            where=source,
            mend="restore the file: none of ours is so deep",
        )
    value: Any = None
    with contextlib.suppress(_TooManyFaultsError):  # those found so far are reported
        value = _Decoder(source, faults).decode(kind, data, "$")
    raise_all(f"{source or kind.__name__} cannot be used", faults)
    return value


def is_too_deep(data: Any) -> bool:
    """Whether parsed JSON or TOML is nested deeper than any file of ours."""
    level = [data] if isinstance(data, (list, tuple, dict)) else []
    for _ in range(DEEPEST):
        inner = (x.values() if isinstance(x, dict) else x for x in level)
        level = [x for items in inner for x in items if isinstance(x, (list, tuple, dict))]
        if not level:
            return False
    return True


def read(kind: type[Record], path: Path) -> Record:
    """Read a record from a JSON file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path.name} is missing", where=str(path), mend="run the step that writes it first"
        ) from None
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{path.name} is not readable JSON: {error}",
            where=str(path),
            mend="restore the file from a copy, or write it again with the step that made it",
        ) from None
    return decode(kind, data, source=str(path))


def write(value: Any, path: Path) -> None:
    """Write a record as JSON, atomically."""
    write_text(path, json.dumps(encode(value), indent=1, allow_nan=False) + "\n")


@dataclasses.dataclass(frozen=True, slots=True)
class _Decoder:
    source: str
    faults: list[FedNNUNetError]

    def fault(self, what: str, at: str, mend: str) -> None:
        where = f"{self.source}, {at}" if self.source else at
        self.faults.append(InputError(what, where=where, mend=mend))
        if len(self.faults) >= _MAX_FAULTS:
            raise _TooManyFaultsError

    def decode(self, kind: Any, data: Any, at: str) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is typing.Annotated:
            choice = next((m for m in kind.__metadata__ if isinstance(m, OneOf)), None)
            if choice:
                return self.one_of(choice, data, at)
            lengths = (m.violation(data) for m in kind.__metadata__ if isinstance(m, AtMost))
            if long := next(filter(None, lengths), ""):  # its entries are not even looked at
                self.fault(f"{at} {long}", at, "give a shorter value here")
                return None
            return self.decode(arguments[0], data, at)
        if dataclasses.is_dataclass(kind):
            return self.record(kind, data, at)
        if origin is tuple:
            return self.items(arguments, data, at)
        if origin is dict:
            return self.mapping(arguments[1], data, at)
        if origin is typing.Literal:
            return self.choice(arguments, data, at)
        if origin in (typing.Union, types.UnionType):
            if data is None and type(None) in arguments:
                return None
            return self.decode(next(a for a in arguments if a is not type(None)), data, at)
        return self.scalar(kind, data, at)

    def record(self, kind: Any, data: Any, at: str) -> Any:
        if not isinstance(data, dict):
            what = f"{at} must be a table of fields, not {shown(data)}"
            self.fault(what, at, "see the file's schema in plans/")
            return None
        fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
        hints = typing.get_type_hints(kind, include_extras=True)
        renamed: Mapping[str, str] = getattr(kind, "renamed", {})
        for name in sorted(data.keys() - fields.keys(), key=str):
            mend = choices(name, sorted(fields))
            if name in renamed:
                mend = f"write {renamed[name]!r}, the new name of {name!r}"
            self.fault(f"unknown field {shown(name)}", f"{at}.{name}", mend)
        before = len(self.faults)
        values = {}
        for name, f in fields.items():
            if name in data:
                values[name] = self.decode(hints[name], data[name], f"{at}.{name}")
            elif f.default is f.default_factory is dataclasses.MISSING:
                mend = f"add the field {name!r}, see the file's schema in plans/"
                self.fault(f"field {name!r} is missing", f"{at}.{name}", mend)
        if len(self.faults) > before:
            return None
        try:
            return kind(**values)
        except FedNNUNetError as error:
            self.fault(error.what, f"{at} {error.where}".strip(), error.mend)
            return None

    def one_of(self, choice: OneOf, data: Any, at: str) -> Any:
        if isinstance(data, str):
            if data not in choice.presets:
                self.fault(
                    f"there is no {choice.word} {shown(data)}", at, choices(data, choice.presets)
                )
            return choice.presets.get(data)
        if not isinstance(data, dict) or not isinstance(data.get(choice.field), str):
            mend = f'write a name, or a table such as {{{choice.field} = "...", ...}}'
            self.fault(
                f"{at} must be a name or a table with a {choice.field}, not {shown(data)}",
                at,
                mend,
            )
            return None
        name = data[choice.field]
        if name not in choice.kinds:
            what = f"there is no {choice.word} {name!r}"
            self.fault(what, f"{at}.{choice.field}", choices(name, choice.kinds))
            return None
        fields = {key: value for key, value in data.items() if key != choice.field}
        return self.record(choice.kinds[name], fields, at)

    def items(self, arguments: tuple[Any, ...], data: Any, at: str) -> Any:
        if not isinstance(data, (list, tuple)):
            what = f"{at} must be a list, not {shown(data)}"
            self.fault(what, at, "write the values as a list: [...]")
            return ()
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            kinds = [arguments[0]] * len(data)
        else:
            kinds = list(arguments)
        if len(kinds) != len(data):
            what = f"{at} needs {len(kinds)} values, not {len(data)}"
            self.fault(what, at, f"give a list of {len(kinds)} values")
            return ()
        pairs = enumerate(zip(kinds, data, strict=True))
        return tuple(self.decode(kind, item, f"{at}[{i}]") for i, (kind, item) in pairs)

    def mapping(self, kind: Any, data: Any, at: str) -> Any:
        if not isinstance(data, dict):
            what = f"{at} must be a table of names, not {shown(data)}"
            self.fault(what, at, "write it as a table: {name = value, ...}")
            return {}
        for key in data:
            self.scalar(str, key, at)
        return {str(key): self.decode(kind, item, f"{at}.{key}") for key, item in data.items()}

    def choice(self, options: tuple[Any, ...], data: Any, at: str) -> Any:
        if data not in options:
            self.fault(f"{at} cannot be {shown(data)}", at, choices(data, map(str, options)))
        return data

    def scalar(self, kind: Any, data: Any, at: str) -> Any:
        if kind is Any:
            return data
        if kind is Path and isinstance(data, str):
            return self.path(data, at)
        if isinstance(data, int) and not -_LARGEST <= data < _LARGEST:
            self.fault(f"{at} is a number of {data.bit_length()} bits", at, "write a smaller one")
            return data
        if kind is float and isinstance(data, int) and not isinstance(data, bool):
            data = float(data)
        if isinstance(data, str) and not _is_unicode(data):
            self.fault(f"{at} is {data!r}, which is not text", at, "write it in UTF-8")
            return data
        if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
            name = _NAMES.get(kind, kind.__name__)
            self.fault(f"{at} must be {name}, not {shown(data)}", at, f"write {name} here")
        elif isinstance(data, float) and not math.isfinite(data):
            self.fault(f"{at} is {data}", at, "write a finite number")
        return data

    def path(self, data: str, at: str) -> Path:
        names = data.encode("utf-8", "replace").split(b"/")
        long = len(data) > _LONGEST_PATH or max(map(len, names)) > _LONGEST_NAME
        if "\0" in data or long or not _is_unicode(data):
            self.fault(
                f"{at} cannot be the name of a file or folder", at, "write a shorter, plain path"
            )
            return Path()
        return Path(data)


def _is_unicode(text: str) -> bool:
    """Whether a text can be written: JSON may hold halves of characters."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
