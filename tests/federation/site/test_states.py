"""A site's states on its disk."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.site.states import StateStore
from tests.federation.site_fakes import a_site


def saved(store) -> set[str]:
    return {path.name for path in store.folder.iterdir()}


def test_what_is_saved_is_loaded_by_run_phase_and_round(tmp_path):
    site = a_site(tmp_path, "one")
    state = site.new_state()
    places = [("", "joint", 1), ("", "public", 1), ("b", "joint", 1), ("", "joint", 2)]
    for step, (run, phase, rounds) in enumerate(places):
        state.step = step
        site.states(run).save(state, phase, rounds)
    for step, (run, phase, rounds) in enumerate(places):
        other = site.new_state(stream="other")
        site.states(run).load(other, phase, rounds)
        assert other.step == step and other.seed == state.seed
    pairs = zip(other.network.parameters(), state.network.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)


def test_the_personal_phase_continues_the_joint_ones_states(tmp_path):
    site = a_site(tmp_path, "one")
    store, state, other = site.states(""), site.new_state(), site.new_state()
    state.step = 7
    store.save(state, "joint", 2)
    store.load(other, "personal", 2)
    assert other.step == 7


def test_states_before_the_one_a_round_began_from_are_removed(tmp_path):
    store, state = StateStore(folder=tmp_path, site="one"), a_site(tmp_path, "one").new_state()
    for rounds in (1, 2, 3):
        store.save(state, "joint", rounds)
    store.save(state, "public", 1)
    store.forget_before("joint", 2)
    assert saved(store) == {"round_0002", "round_0003", "public_0001"}


def test_a_state_that_is_not_there_is_named(tmp_path):
    site = a_site(tmp_path, "one")
    with pytest.raises(InputError, match="holds no state of round_0004") as caught:
        site.states("").load(site.new_state(), "joint", 4)
    assert "site one" in caught.value.where and "restore" in caught.value.mend


def test_rounds_are_compared_as_numbers(tmp_path):
    """By name, round_10000 would come before round_9999."""
    store, state = StateStore(folder=tmp_path, site="one"), a_site(tmp_path, "one").new_state()
    for rounds in (9_998, 9_999, 10_000):
        store.save(state, "joint", rounds)
    store.forget_before("joint", 9_999)
    assert saved(store) == {"round_9999", "round_10000"}
