"""What a command line derived from a dataclass shows and takes."""

import sys
import types
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from fednnunet.commands.cli import Opt, parse
from fednnunet.version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    task: Annotated[str, Opt(positional=True)]
    """the task"""
    methods: tuple[str, ...] = ("fedavg", "local")
    """the methods"""
    seeds: int = 0
    """the seeds"""
    reference: str = ""
    """the reference"""
    limit: float | None = None
    """the limit"""
    kind: Literal["one", "two"] = "one"
    """the kind"""
    quiet: bool = False
    """say nothing"""


def test_options_become_the_fields() -> None:
    assert parse(Options, ["x"], prog="p", about="") == Options(task="x")
    line = [
        "x",
        "--methods",
        "a,b",
        "--seeds",
        "3",
        "--reference",
        "a",
        "--limit",
        "2.5",
        "--kind",
        "two",
        "--quiet",
    ]
    assert parse(Options, line, prog="p", about="") == Options(
        task="x", methods=("a", "b"), seeds=3, reference="a", limit=2.5, kind="two", quiet=True
    )


def test_help_shows_defaults_as_they_are_typed_and_none_where_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        parse(Options, ["--help"], prog="p", about="")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for words in ("the methods (default fedavg,local)", "the seeds (default 0)", "(default one)"):
        assert words in shown
    assert shown.count("(default") == 3


def test_bad_usage_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(Options, ["x", "--kind", "three"], prog="p", about="")
    assert ended.value.code == 2
    assert "three" in capsys.readouterr().err


def test_every_command_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(Options, ["--version"], prog="fednnunet_x", about="")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fednnunet_x {VERSION}\n"


def test_a_shell_that_asks_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    module = types.ModuleType("argcomplete")
    module.autocomplete = lambda parser: asked.append(parser.prog)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "argcomplete", module)
    parse(Options, ["x"], prog="p", about="")
    assert not asked
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    parse(Options, ["x"], prog="p", about="")
    assert asked == ["p"]
    monkeypatch.setitem(sys.modules, "argcomplete", None)  # not installed
    assert parse(Options, ["x"], prog="p", about="").task == "x"
