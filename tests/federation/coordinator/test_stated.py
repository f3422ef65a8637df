from __future__ import annotations

import pytest

from fednnunet import records
from fednnunet.errors import InputError, ReplyError
from fednnunet.federation.coordinator.stated import (
    CHANGED_CASES,
    SITES,
    StatedCases,
    check_prepared_cases,
    read_stated,
)
from fednnunet.federation.wire.messages import PrepareReply

STATED = StatedCases(cases={"b": 30, "a": 10})


def prepare(training: int, held_out: int, *, site: str = "b", max_cases: int = 0) -> None:
    reply = PrepareReply(training_cases=training, held_out_cases=held_out)
    check_prepared_cases(STATED, max_cases, site, reply)


def test_a_sites_share_is_that_of_its_cases():
    assert STATED.shares == {"a": 0.25, "b": 0.75}
    assert StatedCases().shares == {}


def test_what_was_stated_is_kept_in_the_run_folder(tmp_path):
    assert read_stated(tmp_path) == StatedCases()
    records.write(STATED, tmp_path / SITES)
    assert read_stated(tmp_path) == STATED


@pytest.mark.parametrize("cases", [0, -1, 2**60])
def test_impossible_numbers_are_refused(cases):
    with pytest.raises(InputError, match="cases holds"):
        StatedCases(cases={"a": cases})


def test_a_few_cases_more_or_less_are_accepted():
    for change in (0, CHANGED_CASES, -CHANGED_CASES):
        prepare(24 + change, 6)
    with pytest.raises(ReplyError, match="30 cases were stated"):
        prepare(24 - CHANGED_CASES - 1, 6)
    with pytest.raises(ReplyError, match="35 are prepared"):
        prepare(35, 0)


def test_where_cases_are_limited_fewer_are_expected():
    prepare(5, 0, max_cases=5)
    with pytest.raises(ReplyError):
        prepare(5, 0, max_cases=20)


def test_a_site_that_stated_nothing_is_not_checked():
    prepare(99, 99, site="elsewhere")
