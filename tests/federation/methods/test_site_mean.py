"""The mean of the replies by a rule of weights."""

from __future__ import annotations

import torch

from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import State
from fednnunet.federation.methods.merging import Merging
from fednnunet.federation.methods.site_mean import SiteMean
from fednnunet.federation.methods.weighting.closeness import Closeness
from fednnunet.federation.methods.weighting.plain import Uniform
from tests.contracts.helpers import merged
from tests.federation.fakes import INITIAL, SITES, PretendEngine, a_run, go
from tests.federation.methods.replies import NAME, a_reply, a_state

REPLIES = [a_reply("a", (0.1, 4.0), cases=1), a_reply("b", (0.7, 0.0), cases=3)]


def test_without_settings_it_is_the_mean_by_cases_bit_for_bit():
    for merging in (Merging(), Merging(head_rows="annotated")):
        found = merged(SiteMean(merging=merging), a_state(), REPLIES).shared[NAME]
        assert found.equal(merged(mean_by_cases, a_state(), REPLIES).shared[NAME])


def test_only_rules_that_compare_sites_and_conflicts_need_all_replies():
    assert SiteMean(rule=Uniform()).needs == "sum"
    assert SiteMean(rule=Closeness()).needs == "replies"
    assert SiteMean(merging=Merging(head_rows="annotated")).needs == "sum"
    assert SiteMean(merging=Merging(conflicts="drop")).needs == "replies"


def test_both_ways_carry_the_rest_of_the_state_on():
    begin = State(round=4, rounds=9, shared=a_state().shared, memory={"m": torch.ones(1)})
    for mean in (SiteMean(rule=Uniform()), SiteMean(rule=Closeness(sharpness=0))):
        state = merged(mean, begin, REPLIES)
        assert (state.round, state.rounds, state.memory) == (5, 9, begin.memory)
    assert mean.artefacts(state) == {}


def test_rounds_with_models_of_their_own_and_public_ones_end_with_all_tensors(tmp_path):
    settings = {"weights": "closeness", "merging": Merging(conflicts="drop")}
    run = a_run(tmp_path, "fedease", **settings)
    state = go(run, PretendEngine())
    assert state.round == 6 and state.shared.keys() == INITIAL.keys()
    assert state.for_site.keys() == set(SITES)
