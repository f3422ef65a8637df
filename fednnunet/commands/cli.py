"""A command line derived from a frozen dataclass; the help is the string under each field.

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    federation: Annotated[Path, Opt(positional=True)]
    \"\"\"federation file (TOML)\"\"\"
    output: Annotated[Path, Opt(short="-o")]
    \"\"\"folder for the results\"\"\"
    explain: bool = False
    \"\"\"print the reason for each decision\"\"\"
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import importlib
import os
import sys
import types
import typing
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from rich.console import Console
from rich.text import Text

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.field_docs import field_docs
from fednnunet.files import private_files, storage_error
from fednnunet.system import is_read_only
from fednnunet.text import printable
from fednnunet.version import VERSION

Options = TypeVar("Options")
_EXTRAS = {"pydicom": "dicom", "highdicom": "dicom", "tensorboard": "board"}  # of pyproject.toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Opt:
    """How a field appears on the command line, other than as `--name`."""

    positional: bool = False
    """Whether it is an argument without a flag."""
    short: str = ""
    """A short flag, such as -o, or another name of the option."""


def parse(kind: type[Options], argv: Sequence[str] | None, *, prog: str, about: str) -> Options:
    """Read `argv` into `kind`. Bad usage ends the program with code 2, as argparse does."""
    parser = argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"{prog} {VERSION}")
    hints, docs = typing.get_type_hints(kind, include_extras=True), field_docs(kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        _add(parser, field, hints[field.name], docs.get(field.name, ""))
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may follow
        _complete(parser)
    given = vars(parser.parse_args(argv))
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in given.items()})


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, if the package argcomplete is installed; this ends the program."""
    with suppress(ImportError):
        importlib.import_module("argcomplete").autocomplete(parser)


class PlainConsole(Console):
    """A console for names from outside: no text is markup, and none steers the terminal."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """The text as it is, but for control characters, which are shown as codes."""
        settings |= {"markup": False, "emoji": False}
        return super().render_str(printable(text, lines=True), **settings)


def run_command(work: Callable[[], None], *, private: bool = False) -> int:
    """Run a command's work; faults of the family are printed to stderr and give exit code 2.

    So are those of a disk or a file (full, read-only, not to be read), and of a package that is not
    installed. Ctrl-C gives 130, a reader of the output that has gone away 141. With `private` only
    the owner may read what is written.
    """
    try:
        with private_files() if private else nullcontext():
            work()
    except KeyboardInterrupt:
        mend = "run the same command again: it continues from here"
        _show(FedNNUNetError("interrupted", mend=mend))
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except FedNNUNetError as error:
        _show(error)
        return 2
    except OSError as error:
        _show(_of_system(error))
        return 2
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name in ("", "fednnunet"):
            raise
        _show(_missing_package(name))
        return 2
    return 0


def _of_system(error: OSError) -> FedNNUNetError:
    """The error of ours for one of the operating system, whether something was read or written."""
    path = Path(os.fsdecode(error.filename)) if error.filename else Path()
    if error.errno in (errno.EACCES, errno.EPERM):
        what, mend = "may not be read or written", "give yourself the right to, or choose another"
        return InputError(f"{path.name or 'a file'} {what}", where=str(path), mend=mend)
    found = storage_error(error, path)
    if found is not None and error.errno not in (errno.ENOTDIR, errno.EISDIR):
        return found
    return InputError(
        f"{path.name or 'a file'} cannot be used: {error.strerror or error}",
        where=str(path) if error.filename else "",
        mend="see that the file or folder is there, and of the right kind",
    )


def _missing_package(name: str) -> InputError:
    extra = _EXTRAS.get(name)
    return InputError(
        f"this needs the package {name}, which is not installed",
        mend=f"run: pip install 'fednnunet[{extra}]'" if extra else f"run: pip install {name}",
    )


def check_output_file(path: Path) -> None:
    """Raise StorageError for a file of results that cannot be written; makes nothing."""
    if path.is_dir() and (fault := storage_error(IsADirectoryError(errno.EISDIR, ""), path)):
        raise fault
    check_output(path.parent)


def check_output(folder: Path) -> None:
    """Raise StorageError for a folder of results that cannot be made or written; makes nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    number = 0
    if not there.is_dir():
        number = errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        number = errno.EROFS if is_read_only(there) else errno.EACCES
    if number and (fault := storage_error(OSError(number, "", str(there)), folder)):
        raise fault


def _show(error: FedNNUNetError) -> None:
    console = PlainConsole(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"error: {error}", style="red" if sys.stderr.isatty() else "")


def _add(
    parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any, text: str
) -> None:
    annotated = get_origin(hint) is typing.Annotated
    kind, option = get_args(hint)[:2] if annotated else (hint, Opt())
    required = field.default is field.default_factory is dataclasses.MISSING
    settings: dict[str, Any] = {"help": text.replace("%", "%%")}
    if not required:
        factory = field.default_factory
        default = factory() if callable(factory) else field.default
        settings["default"] = default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        if shown is not None and shown is not False and shown != "":
            settings["help"] += f" (default {shown})"
    settings |= _type_settings(kind)
    if option.positional and get_origin(kind) is tuple:
        settings |= {"type": get_args(kind)[0], "nargs": "+"}
        parser.add_argument(field.name, metavar=field.name.upper()[:-1], **settings)
        return
    if option.positional:
        if not required:
            settings.setdefault("nargs", "?")
        parser.add_argument(field.name, **settings)
        return
    names = [option.short] if option.short else []
    flag = "--" + field.name.replace("_", "-")
    parser.add_argument(*names, flag, dest=field.name, required=required, **settings)


def _type_settings(kind: Any) -> dict[str, Any]:
    """Settings of argparse for a field's type: bool, Literal, tuple[X, ...], X | None or X."""
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
