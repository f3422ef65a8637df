"""Ranges that stand in the fields of a record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import pytest

from fednnunet.errors import ReplyError
from fednnunet.ranges import AtMost, Within, check_ranges


@dataclass(frozen=True, kw_only=True)
class Record:
    loss: Annotated[float | None, Within(-1.0, 2.0)] = 0.0
    rows: Annotated[tuple[tuple[int, ...], ...], AtMost(2), Within(0, 9)] = ()
    table: Annotated[dict[str, float], Within(0, 1)] = field(default_factory=dict)
    word: Annotated[str, AtMost(3)] = ""
    free: float = math.nan


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"loss": None},
        {"loss": -1.0},
        {"loss": 2},
        {"rows": ((0, 9), (1,))},
        {"table": {"a": 1.0}},
        {"word": "abc"},
        {"free": math.inf},
    ],
)
def test_what_is_in_range_passes_with_its_bounds(fields):
    check_ranges(Record(**fields), ReplyError, mend="send it again")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loss": 2.5}, "loss is 2.5, not a number from -1 to 2"),
        ({"loss": math.nan}, "loss is nan"),
        ({"loss": -math.inf}, "loss is -inf"),
        ({"rows": ((1,), (1, 10))}, "rows holds 10"),
        ({"rows": ((), (), ())}, "rows has 3 entries, more than 2"),
        ({"table": {"a": 0.5, "b": 1.5}}, "table holds 1.5"),
        ({"word": "abcd"}, "word has 4 characters, more than 3"),
        ({"rows": ((10**99,),)}, f"rows holds 1{'0' * 35} ..."),
    ],
)
def test_what_is_out_of_range_is_refused_with_its_field(fields, words):
    with pytest.raises(ReplyError) as caught:
        check_ranges(Record(**fields), ReplyError, mend="send it again")
    assert caught.value.what.startswith(words) and caught.value.mend == "send it again"
