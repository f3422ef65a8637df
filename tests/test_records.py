from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.training_spec import Training
from fednnunet.schema import json_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    renamed: ClassVar[Mapping[str, str]] = {"speed": "learning_rate"}

    learning_rate: float = 0.1
    axes: tuple[int, int, int] = (0, 1, 2)
    names: tuple[str, ...] = ()
    table: dict[str, int] | None = None
    kind: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("old", "new"),
    [("closing_rounds", "public_rounds"), ("references", "baselines"), ("most_cases", "max_cases")],
)
def test_an_old_name_is_refused_with_the_new_one(old: str, new: str) -> None:
    with pytest.raises(InputError) as caught:
        records.decode(Training, {old: 1})
    assert caught.value.what == f"unknown field {old!r}"
    assert caught.value.mend == f"write {new!r}, the new name of {old!r}"
    assert caught.value.where == f"$.{old}"


def test_renamed_fields_are_no_fields() -> None:
    assert "renamed" not in records.encode(Settings())
    with pytest.raises(InputError, match="unknown field 'renamed'"):
        records.decode(Settings, {"renamed": {}})


@pytest.mark.parametrize("field", ["learning_rate", "axes", "names", "table", "kind"])
def test_a_long_value_is_shortened_in_the_error(field: str) -> None:
    long = {"key": ["value"] * 1000} if field != "table" else "x" * 1000
    with pytest.raises(FedNNUNetError) as caught:
        records.decode(Settings, {field: long})
    assert " ..." in caught.value.what
    assert len(caught.value.what) < 140


def test_a_short_value_is_shown_whole() -> None:
    with pytest.raises(InputError, match="not 'quick'"):
        records.decode(Settings, {"learning_rate": "quick"})


def test_every_fault_says_what_to_do() -> None:
    data = {"learning_rate": "x", "axes": [1], "names": 1, "table": 2, "kind": "c", "more": 1}
    with pytest.raises(FedNNUNetError) as caught:
        records.decode(Settings, data)
    found = caught.value.faults  # type: ignore[attr-defined]
    assert len(found) == len(data)
    assert all(len(fault.mend.split()) >= 3 for fault in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    tag: ClassVar[str] = "small"
    tag_field: ClassVar[str] = "size"
    number: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WithChoice:
    one: Annotated[Any, records.OneOf("size", {"small": Small}, {"small": Small()}, "size")]


def test_a_choice_of_records_may_have_another_word_for_its_name() -> None:
    value = WithChoice(one=Small(number=3))
    assert records.encode(value) == {"one": {"size": "small", "number": 3}}
    assert records.decode(WithChoice, records.encode(value)) == value
    assert records.decode(WithChoice, {"one": "small"}) == WithChoice(one=Small())
    for bad, words in ({"name": "small"}, "a table with a size"), ({"size": "x"}, "$.one.size"):
        with pytest.raises(FedNNUNetError) as caught:
            records.decode(WithChoice, {"one": bad})
        assert words in str(caught.value)
    required = json_schema(WithChoice, title="t")["$defs"]["Small"]["required"]
    assert required == ["size"]
