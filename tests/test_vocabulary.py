"""No retired name is in the package: identifiers by token, and a few unambiguous words in prose."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

import fednnunet

PACKAGE = Path(fednnunet.__file__).parent
ROOT = PACKAGE.parent

# Each is matched against whole identifiers. Names that are also ordinary ones (`outside` of a mask,
# `rate`, `turn`, `leaves`, `missing`) are not listed, since a match would prove nothing.
RETIRED_IDENTIFIERS = (
    "Stretch|stretch|Detour|detours?|Given|Look|Uphill|uphill|Trail|Eased|eased|Means|Traits|Grid",
    "asides?|beside|apart|unrest|likes|suits?|pays|heap|keeping|watching|invented|plainly|told",
    "closing_rounds|entropy_weight|odd_ones|(is)?_?drawn|_DRAWN|shortfall|traits|looked_at|LOOKED_AT",
    "cleanse(_shapes)?|_?most_(?!common).+|_?least_.+|_?MOST(_.+)?|_?LEAST(_.+)?|_?FEWEST(_.+)?|fewest_.+",
    "hit|missed|WORDS|_sum_of_drawn|_that_matters|verdicts_in_words",
)

# Matched in the source text, docstrings and messages included.
RETIRED_PHRASES = (
    r"\bclosing rounds?\b",
    r"\bclosing_rounds\b(?!\": \"public_rounds)",
    r"\bhospitals outside\b",
    r"\bby (their|its) likes\b",
    r"\bled together\b",
    r"\blet go\b",
    r"\bmend=\"(do so|raise it|correct it|add it|above 0)\"",
    r"\bodd[ _]ones\b",
)

# Modules that still have some of these names. Remove an entry when its module is clean.
MODULES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


def retired_identifiers(source: str) -> list[str]:
    """The retired names among the identifiers of a module, with their lines."""
    pattern = re.compile("|".join(RETIRED_IDENTIFIERS))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [
        f"{token.start[0]}: {token.string}"
        for token in tokens
        if token.type == tokenize.NAME and pattern.fullmatch(token.string)
    ]


def retired_phrases(source: str) -> list[str]:
    """The retired phrases in a text, across line breaks."""
    text = " ".join(source.split())
    return [found.group() for phrase in RETIRED_PHRASES for found in re.finditer(phrase, text)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class Stretch:\n    pass\n", ["1: Stretch"]),
        ("most_cases = 1\nx.least = 2\nx.least_share = 3\n", ["1: most_cases", "2: least_share"]),
        ('"""Patches are drawn, most_cases is told apart."""\n', []),
        ("counts.most_common(1)\n", []),
        ("drawn_by = outside\n", []),
    ],
)
def test_identifiers_are_found_and_prose_is_not(source: str, found: list[str]) -> None:
    assert [name.split(": ")[1] for name in retired_identifiers(source)] == [
        name.split(": ")[1] for name in found
    ]


def test_phrases_are_found_across_lines() -> None:
    assert retired_phrases('"""The closing\n    rounds."""') == ["closing rounds"]
    assert retired_phrases('{"closing_rounds": "public_rounds"}') == []


@pytest.mark.parametrize("module", MODULES)
def test_the_package_has_no_retired_name(module: str) -> None:
    source = (PACKAGE / module).read_text(encoding="utf-8")
    assert retired_identifiers(source) == []
    assert retired_phrases(source) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.j2")), ids=lambda p: p.name)
def test_the_pages_have_no_retired_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert retired_phrases(text) == []
    assert re.findall(r"\b(invented|outside|apart)\b", text) == []


@pytest.mark.parametrize("path", sorted((ROOT / "plans").glob("*.toml")), ids=lambda p: p.name)
def test_the_worked_examples_have_no_retired_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"\b(closing_rounds|references|most_cases)\b", text) == []
