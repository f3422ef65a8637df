"""A site that states more cases for the plan than it has: it would decide the plan for all."""

from __future__ import annotations

from functools import partial

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.coordinator.exchange import ask_all
from fednnunet.federation.coordinator.stated import (
    CHANGED_CASES,
    SITES,
    StatedCases,
    check_prepared_cases,
    read_stated,
)
from fednnunet.federation.wire.messages import PrepareReply, ShapesInvite


class Preparing:
    """Sites that prepare so many cases for training and for evaluation."""

    sites = ("a", "b")

    def __init__(self, training: int, held_out: int) -> None:
        self.reply = PrepareReply(training_cases=training, held_out_cases=held_out)

    def ask(self, invites, deadline):
        honest = PrepareReply(training_cases=16, held_out_cases=4)
        yield Answer(site="a", reply=honest)
        yield Answer(site="b", reply=self.reply)


def prepare(stated: int, training: int, held_out: int, *, max_cases: int = 0) -> None:
    check = partial(check_prepared_cases, StatedCases(cases={"a": 20, "b": stated}), max_cases)
    invite = ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))
    engine = Preparing(training, held_out)
    ask_all(engine, invite, PrepareReply, what="cannot prepare", check=check)


@pytest.mark.parametrize(
    ("stated", "training", "held_out"),
    [(5_200_000, 16, 4), (25, 16, 4), (20, 10**6, 4), (20, 25, 0), (20, 0, 0)],
)
def test_other_numbers_than_stated_are_refused_with_the_name_of_the_site(
    stated, training, held_out
):
    with pytest.raises(FedNNUNetError, match=f"{stated} cases were stated") as caught:
        prepare(stated, training, held_out)
    assert "site b" in caught.value.where


@pytest.mark.parametrize(
    ("training", "held_out", "max_cases"),
    [
        (16, 4, 0),
        (20, 300, 0),  # a test set
        (0, 20, 0),  # an external site
        (16 - CHANGED_CASES, 4, 0),  # its first answer is repeated after few changes
        (16 + CHANGED_CASES, 4, 0),
        (6, 4, 10),
    ],
)
def test_honest_numbers_pass(training, held_out, max_cases):
    prepare(20, training, held_out, max_cases=max_cases)


def test_without_planning_in_the_run_folder_nothing_is_compared(tmp_path):
    assert read_stated(tmp_path) == StatedCases()
    check_prepared_cases(
        read_stated(tmp_path), 0, "a", PrepareReply(training_cases=9, held_out_cases=1)
    )


def test_shares_show_who_decides(tmp_path):
    stated = StatedCases(cases={"b": 30, "a": 10})
    records.write(stated, tmp_path / SITES)
    assert read_stated(tmp_path).shares == {"a": 0.25, "b": 0.75}
    with pytest.raises(InputError, match="cases holds 0"):
        StatedCases(cases={"a": 0})
