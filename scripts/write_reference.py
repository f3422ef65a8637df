"""Write docs/reference/: every key of the federation file and of site.toml, from the fields' docs.

python scripts/write_reference.py [FOLDER]
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from fednnunet.federation.card_spec import CardSpec
from fednnunet.federation.filters.catalogue import FILTERS
from fednnunet.federation.guard_spec import Guard
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.methods.catalogue import SETTINGS
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.robust import RobustMean
from fednnunet.federation.methods.step import StepBetweenRounds
from fednnunet.federation.methods.weighting.catalogue import RULES
from fednnunet.federation.network_spec import Network
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.secure_spec import Planning, SecureAggregation
from fednnunet.federation.site.policy import Allowed, OutgoingLimits, PrivacyLimits, SitePolicy
from fednnunet.federation.spec import Budget, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.field_docs import field_docs
from fednnunet.labels.pretraining import Pretraining
from fednnunet.labels.settings import PseudoLabels
from fednnunet.schema import Names
from fednnunet.task import Task
from fednnunet.training.imbalance import Imbalance

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
_WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}


def keys(kind: type) -> Iterator[str]:
    """Lines of a table: each key, its type, its default and what it means."""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    docs, hints = field_docs(kind), typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if field.init:
            meaning = " ".join(docs.get(field.name, "").split()).replace("|", "\\|")
            cells = (f"`{field.name}`", _kind(hints[field.name]), _default(field), meaning)
            yield f"| {' | '.join(cells)} |"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is field.default_factory is dataclasses.MISSING:
        return "required"
    factory = field.default_factory
    value = factory() if factory is not dataclasses.MISSING else field.default
    if isinstance(value, Path):
        return f"`{value}`"
    if hasattr(type(value), "tag"):
        return f'`"{type(value).tag}"`'
    if value is None or value in ("", (), {}) or dataclasses.is_dataclass(value):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value!r}`".replace("'", '"')


def _kind(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is typing.Annotated:
        names = next((m for m in hint.__metadata__ if isinstance(m, Names)), None)
        if names:
            return ", ".join(f'`"{name}"`' for name in sorted(names.names))
        if "WeightRule" in str(hint):
            return "a rule of weights"
        return "a method" if "Settings" in str(hint) else _kind(get_args(hint)[0])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Literal:
        return ", ".join(f'`"{a}"`' if isinstance(a, str) else f"`{a}`" for a in arguments)
    if origin in (typing.Union, types.UnionType):
        return _kind(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return "list"
    if origin is dict:
        return "table"
    if dataclasses.is_dataclass(hint):
        return "table, see below"
    name = getattr(hint, "__name__", str(hint))
    return _WORDS.get(name, "path" if name == "Path" else name)


def federation_page() -> str:
    """Every key of the federation file."""
    lines = [
        "# The federation file",
        "",
        "Made by `scripts/write_reference.py` from the code. Unknown keys are refused.",
    ]
    sections: tuple[tuple[str, type], ...] = (
        ("[task]", Task),
        ("[sites.NAME]", SiteSpec),
        ("[budget]", Budget),
        ("[planning]", Planning),
        ("[training]", Training),
        ("[training.guard]", Guard),
        ("[training.step]", StepBetweenRounds),
        ("[training.pseudo_labels]", PseudoLabels),
        ("[training.imbalance]", Imbalance),
        ("[training.pretraining]", Pretraining),
        ("[training.merging]", Merging),
        ("[training.robust]", RobustMean),
        ("[training.secure]", SecureAggregation),
        ("[training.privacy]", Privacy),
        ("[card]", CardSpec),
        ("[log]", LogSpec),
        ("[network]", Network),
    )
    lines += _sections(sections)
    lines += ["", "## Settings of the methods", "", "Keys of `[training.method]` beside `name`."]
    lines += _named(SETTINGS)
    lines += ["", "## Rules of weights", "", "Keys of `[training.weights]` beside `rule`."]
    lines += _named(RULES)
    lines += ["", "## Settings of the filters", "", "Keys of an entry of `training.filters`."]
    lines += _named(FILTERS)
    return "\n".join(lines) + "\n"


def _sections(sections: Iterable[tuple[str, type]]) -> Iterator[str]:
    for title, kind in sections:
        yield from ("", f"## `{title}`", "", *keys(kind))


def _named(kinds: Mapping[str, type]) -> Iterator[str]:
    """A part for each kind: its name, the first paragraph of its docstring, and its keys."""
    for name, settings in sorted(kinds.items()):
        first = " ".join((settings.__doc__ or "").split("\n\n")[0].split())
        yield from ("", f"### `{name}`", "", first)
        if dataclasses.fields(settings):
            yield from ("", *keys(settings))


def site_page() -> str:
    """Every key of site.toml."""
    lines = [
        "# site.toml",
        "",
        "A site's own limits, in its folder; nobody else can lift them. Made by",
        "`scripts/write_reference.py` from the code.",
        "",
        *keys(SitePolicy),
        *_sections(
            (("[outgoing]", OutgoingLimits), ("[privacy]", PrivacyLimits), ("[allow]", Allowed))
        ),
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write both pages."""
    given = sys.argv[1:] if argv is None else argv
    folder = Path(given[0]) if given else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "federation.md").write_text(federation_page(), encoding="utf-8")
    (folder / "site.md").write_text(site_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
