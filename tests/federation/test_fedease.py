"""fedease: led to a mean, and let go towards the end."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedavg import fedavg
from fednnunet.federation.methods.fedease import (
    AnnealedMixing,
    fedease,
    fedease_all,
    in_first_stages,
    lerp,
    site_graph,
)
from fednnunet.federation.methods.method import Reply, State, mean_by_cases

EARLY, LATE = "encoder.0.blocks.0.conv.weight", "encoder.3.blocks.0.conv.weight"


def reply(site, early, late, cases=1):
    tensors = {EARLY: torch.tensor(early), LATE: torch.tensor(late)}
    return Reply(site=site, tensors=tensors, cases=cases, loss=0.0)


def start(rounds):
    shared = {EARLY: torch.zeros(2), LATE: torch.zeros(2)}
    return State(round=0, shared=shared, rounds=rounds)


def test_the_pull_eases_from_all_the_way_to_none():
    merge = AnnealedMixing(mean_by_cases, power=1.0)
    replies = [reply("a", [1.0, 0.0], [4.0, 0.0]), reply("b", [3.0, 0.0], [0.0, 0.0])]
    state = start(4)
    for share in (0.25, 0.5, 0.75, 1.0):
        state = merge(state, replies)
        assert state.for_site["a"][EARLY].tolist() == pytest.approx([1 + (1 - share) * 1, 0])
        assert state.for_site["a"][LATE].tolist() == pytest.approx([4 - (1 - share) * 2, 0])
    assert torch.equal(state.for_site["b"][EARLY], replies[1].tensors[EARLY])
    assert state.shared[EARLY].tolist() == [2.0, 0.0]  # the global model is the mean all along


def test_a_higher_power_lets_go_later():
    replies = [reply("a", [1.0, 0.0], [0.0, 0.0]), reply("b", [3.0, 0.0], [0.0, 0.0])]
    half = [AnnealedMixing(mean_by_cases, power)(start(2), replies) for power in (1.0, 2.0, 6.0)]
    found = [state.for_site["a"][EARLY][0].item() for state in half]
    assert found == pytest.approx([1.5, 1.75, 2 - 2**-6])
    with pytest.raises(InputError, match="power"):
        AnnealedMixing(mean_by_cases, 0.0)


def test_without_a_known_end_every_site_is_led_all_the_way():
    replies = [reply("a", [1.0, 0.0], [4.0, 0.0]), reply("b", [3.0, 0.0], [0.0, 0.0])]
    state = AnnealedMixing(mean_by_cases)(start(0), replies)
    assert state.for_site["a"][EARLY].tolist() == state.shared[EARLY].tolist()


def test_a_scanner_unlike_the_others_is_led_in_the_deeper_stages_alone():
    """Early stages of a and b change alike, c's the other way; late stages say nothing."""
    replies = [
        reply("a", [1.0, 0.1], [5.0, 1.0]),
        reply("b", [1.0, -0.1], [-5.0, 3.0]),
        reply("c", [-1.0, 0.0], [5.0, 2.0]),
    ]
    state = fedease.merge(start(100), replies)
    assert state.for_site["c"][EARLY].tolist() == pytest.approx([-1.0, 0.0])
    assert state.for_site["a"][EARLY].tolist() == pytest.approx([1.0, 0.0], abs=0.01)
    for site in ("a", "b", "c"):
        assert state.for_site[site][LATE].tolist() == pytest.approx([5 / 3, 2.0], abs=0.1)
    everyone = fedease_all.merge(start(100), replies)
    assert everyone.for_site["c"][EARLY][0].item() == pytest.approx(1 / 3, abs=0.05)
    graph = site_graph(fedease, state)
    assert graph is not None and set(graph.edges) == {("a", "b")}
    assert site_graph(fedavg, state) is None


def test_a_site_that_was_not_asked_keeps_what_it_would_receive():
    merge = fedease.merge
    both = merge(start(4), [reply("a", [1.0, 0.0], [1.0, 0.0]), reply("b", [1.0, 0.0], [3.0, 0.0])])
    after = merge(both, [reply("a", [2.0, 0.0], [2.0, 0.0])])
    assert torch.equal(after.for_site["b"][LATE], both.for_site["b"][LATE])
    assert after.for_site["a"][LATE].tolist() == pytest.approx([2.0, 0.0])


def test_whole_numbers_stay_the_sites_own():
    own, other = {"n": torch.tensor(3)}, {"n": torch.tensor(9)}
    assert lerp(own, other, 0.5)["n"].item() == 3


def test_only_the_first_two_stages_of_the_encoder_tell_scanners_apart():
    names = (EARLY, "encoder.1.blocks.1.conv.weight", LATE, "decoder.0.up.weight", "heads.0.weight")
    assert [in_first_stages(name) for name in names] == [True, True, False, False, False]
