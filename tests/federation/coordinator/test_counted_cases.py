from __future__ import annotations

import math

import pytest

from fednnunet.federation.coordinator.counted_cases import counted_cases
from fednnunet.federation.wire.messages import TrainReply
from fednnunet.labels.settings import PseudoLabels


def reply(cases, unlabelled):
    return TrainReply(
        run="",
        round=0,
        phase="joint",
        cases=cases,
        unlabelled=unlabelled,
        loss=0.0,
        seconds=1.0,
        wait_share=0.0,
    )


@pytest.mark.parametrize("settings", [None, PseudoLabels(unlabelled_sites="cases")])
def test_all_cases_count_where_no_ramp_is_wanted(settings):
    assert counted_cases(reply(40, 30), settings, 0.0) == 40


def test_cases_without_labels_count_by_the_ramp():
    settings = PseudoLabels(start=0.2, ramp_up=0.4, unlabelled_sites="ramp")
    found = [counted_cases(reply(40, 30), settings, done) for done in (0.0, 0.4, 0.6, 1.0)]
    assert found == [10, round(10 + 30 * math.exp(-1.25)), 40, 40]


def test_a_reply_counts_for_at_least_one_case():
    assert counted_cases(reply(40, 40), PseudoLabels(start=0.5), 0.0) == 1


def test_labelled_cases_count_whole():
    assert counted_cases(reply(40, 0), PseudoLabels(), 0.0) == 40


def test_a_site_without_labels_whose_change_is_added_counts_by_its_cases():
    settings = PseudoLabels(start=0.5)
    assert counted_cases(reply(40, 40), settings, 0.0, added=True) == 40
    assert counted_cases(reply(40, 30), settings, 0.0, added=True) == 10
