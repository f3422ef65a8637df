"""The mean change of sites without labels is added beside the model of the others."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from fednnunet.federation.coordinator.unlabelled_sites import (
    BesideLabelled,
    added_strength,
    are_added,
)
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import State
from fednnunet.labels.settings import PseudoLabels
from tests.federation.methods.replies import NAME, a_reply

BEGIN = State(round=3, shared={NAME: torch.tensor([1.0, 1.0]), "count": torch.tensor(4)})


def reply(site, values, *, labelled, cases=1):
    made = a_reply(site, values, cases=cases, labelled=labelled)
    return replace(made, tensors={**made.tensors, "count": torch.tensor(5)})


LABELLED = [reply("a", (2.0, 1.0), labelled=True), reply("b", (4.0, 1.0), labelled=True, cases=3)]
OTHERS = [reply("c", (1.0, 2.0), labelled=False), reply("d", (1.0, 8.0), labelled=False, cases=2)]


def after(replies, strength):
    aggregation = BesideLabelled(mean_by_cases.start(BEGIN), BEGIN, strength)
    for one in replies:
        aggregation.add(one)
    return aggregation.finish()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_the_sum_by_hand_in_any_order(strength):
    for order in itertools.permutations(LABELLED + OTHERS):
        state = after(order, strength)
        # Labelled: (2 + 3 * 4) / 4 = 3.5; others: ((2 - 1) + 2 * (8 - 1)) / 3 = 5.
        assert state.shared[NAME].tolist() == pytest.approx([3.5, 1.0 + strength * 5])
        assert (int(state.shared["count"]), state.round) == (5, 4)


def test_without_others_it_is_the_mean_and_without_labelled_the_received_model_moves():
    alone = mean_by_cases.start(BEGIN)
    for one in LABELLED:
        alone.add(one)
    assert torch.equal(after(LABELLED, 1.0).shared[NAME], alone.finish().shared[NAME])
    state = after(OTHERS, 0.5)
    assert state.shared[NAME].tolist() == pytest.approx([1.0, 3.5])
    assert state.round == 4


def test_only_a_method_with_one_mean_adds():
    added = {name for name, method in METHODS.items() if are_added(PseudoLabels(), method.merge)}
    assert {"fedavg", "fedbn_head", "fedavgm"} <= added and "fedease" not in added
    merge = METHODS["fedavg"].merge
    assert not are_added(None, merge)
    assert not are_added(PseudoLabels(unlabelled_sites="ramp"), merge)


def test_the_strength_follows_the_ramp_and_is_none_where_nothing_is_added():
    settings, merge = PseudoLabels(start=0.5, ramp_up=0.0), METHODS["fedavg"].merge
    found = [added_strength(settings, merge, done) for done in (0.4, 0.5)]
    assert found == [0.0, settings.unlabelled_strength]
    assert added_strength(settings, METHODS["fedease"].merge, 1.0) is None
    assert added_strength(None, merge, 1.0) is None
