"""A command line derived from a frozen dataclass: one field, one option, one place.

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    federation: Annotated[Path, Opt("federation file (TOML)", positional=True)]
    output: Annotated[Path, Opt("folder for the results", short="-o")]
    explain: Annotated[bool, Opt("print why each decision was taken")] = False
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

from rich.console import Console

from fednnunet.errors import FedNNUNetError

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class Opt:
    """What the command line shows of a field."""

    help: str
    positional: bool = False
    short: str = ""


def parse(kind: type[Options], argv: Sequence[str] | None, *, prog: str, about: str) -> Options:
    """Read `argv` into `kind`. Bad usage ends the program with code 2, as argparse does."""
    parser = argparse.ArgumentParser(prog=prog, description=about)
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        _add(parser, field, hints[field.name])
    return kind(**vars(parser.parse_args(argv)))


def run_command(work: Callable[[], None]) -> int:
    """Run a command's work; faults of the family are printed to stderr and give exit code 2."""
    try:
        work()
    except FedNNUNetError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"error: {error}", markup=False, style="red" if sys.stderr.isatty() else ""
        )
        return 2
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; the same command goes on from here")
        return 130
    return 0


def _add(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any) -> None:
    kind, option = get_args(hint)[:2]
    required = field.default is field.default_factory is dataclasses.MISSING
    settings: dict[str, Any] = {"help": option.help}
    if not required:
        factory = field.default_factory
        default = factory() if callable(factory) else field.default
        settings["default"] = default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        if shown is not None and shown is not False and shown != "":
            settings["help"] += f" (default {shown})"
    settings |= _type_settings(kind)
    if option.positional:
        if not required:
            settings.setdefault("nargs", "?")
        parser.add_argument(field.name, **settings)
        return
    names = [option.short] if option.short else []
    flag = "--" + field.name.replace("_", "-")
    parser.add_argument(*names, flag, dest=field.name, required=required, **settings)


def _type_settings(kind: Any) -> dict[str, Any]:
    """What argparse needs for a field's type: bool, Literal, tuple[X, ...], X | None or X."""
    if kind is bool:
        return {"action": "store_true"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _type_settings(next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        return {"choices": arguments}
    if origin is tuple:
        return {"type": lambda text: tuple(arguments[0](part) for part in text.split(",") if part)}
    return {"type": kind}
