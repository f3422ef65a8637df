"""Overlap that a reply may state."""

from __future__ import annotations

import pytest

from fednnunet.federation.site.overlap import shared_overlap
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.counts import DiceCounts
from tests.training.fakes import small_task

COUNTS = DiceCounts(names=("outer", "inner"), tp=(5, 6), fp=(1, 2), fn=(3, 4))
ROWS = ((5, 1, 3), (6, 2, 4))
CASES = ("c0", "c1", "c2")


def shared(least, **kinds):
    supervision = SiteSupervision(cases=kinds)
    return shared_overlap(COUNTS, CASES, supervision, small_task(), least=least)


def test_enough_cases_state_all_and_too_few_nothing():
    assert shared(3) == ROWS
    assert shared(4) == ()


def test_a_target_that_too_few_cases_annotate_is_left_out():
    inner = Supervision(kind="partial", annotated=(2,))
    assert shared(3, c1=inner) == ((0, 0, 0), ROWS[1])
    assert shared(2, c1=inner) == ROWS


@pytest.mark.parametrize("kind", ["none", "box"])
def test_cases_without_drawn_classes_do_not_count(kind):
    assert shared(3, c1=Supervision(kind=kind)) == ((0, 0, 0), (0, 0, 0))
    assert shared(2, c1=Supervision(kind=kind)) == ROWS
