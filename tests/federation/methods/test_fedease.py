"""FedEase: mixing with a mean whose weight is annealed to 0."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.evaluation.site_graph import GRAPH
from fednnunet.federation.methods.fedease import AnnealedMixing, FedEase, in_first_stages, lerp
from fednnunet.federation.methods.mean import mean_by_cases
from fednnunet.federation.methods.merge import Reply, State
from tests.contracts.helpers import merged

FEDEASE = FedEase().build()
EARLY, LATE = "encoder.0.blocks.0.conv.weight", "encoder.3.blocks.0.conv.weight"


def reply(site, early, late, cases=1):
    tensors = {EARLY: torch.tensor(early), LATE: torch.tensor(late)}
    return Reply(site=site, tensors=tensors, cases=cases, loss=0.0)


def start(rounds):
    shared = {EARLY: torch.zeros(2), LATE: torch.zeros(2)}
    return State(round=0, shared=shared, rounds=rounds)


def test_the_weight_of_the_mean_is_annealed_from_nearly_one_to_none():
    merge = AnnealedMixing(mean_by_cases, power=1.0)
    replies = [reply("a", [1.0, 0.0], [4.0, 0.0]), reply("b", [3.0, 0.0], [0.0, 0.0])]
    state = start(4)
    for share in (0.25, 0.5, 0.75, 1.0):
        state = merged(merge, state, replies)
        assert state.for_site["a"][EARLY].tolist() == pytest.approx([1 + (1 - share) * 1, 0])
        assert state.for_site["a"][LATE].tolist() == pytest.approx([4 - (1 - share) * 2, 0])
    assert torch.equal(state.for_site["b"][EARLY], replies[1].tensors[EARLY])
    assert state.shared[EARLY].tolist() == [2.0, 0.0]  # the global model is the mean all along


def test_with_a_higher_power_the_weight_falls_later():
    replies = [reply("a", [1.0, 0.0], [0.0, 0.0]), reply("b", [3.0, 0.0], [0.0, 0.0])]
    half = [
        merged(AnnealedMixing(mean_by_cases, power), start(2), replies) for power in (1.0, 2.0, 6.0)
    ]
    found = [state.for_site["a"][EARLY][0].item() for state in half]
    assert found == pytest.approx([1.5, 1.75, 2 - 2**-6])
    with pytest.raises(InputError, match="power"):
        AnnealedMixing(mean_by_cases, 0.0)


def test_without_a_known_end_every_site_receives_the_mean():
    replies = [reply("a", [1.0, 0.0], [4.0, 0.0]), reply("b", [3.0, 0.0], [0.0, 0.0])]
    state = merged(AnnealedMixing(mean_by_cases, 6.0), start(0), replies)
    assert state.for_site["a"][EARLY].tolist() == state.shared[EARLY].tolist()


def test_a_site_with_other_updates_is_averaged_in_the_deeper_stages_alone():
    """Early stages of a and b change alike, c's the other way; late stages say nothing."""
    replies = [
        reply("a", [1.0, 0.1], [5.0, 1.0]),
        reply("b", [1.0, -0.1], [-5.0, 3.0]),
        reply("c", [-1.0, 0.0], [5.0, 2.0]),
    ]
    state = merged(FEDEASE.merge, start(100), replies)
    assert state.for_site["c"][EARLY].tolist() == pytest.approx([-1.0, 0.0])
    assert state.for_site["a"][EARLY].tolist() == pytest.approx([1.0, 0.0], abs=0.01)
    for site in ("a", "b", "c"):
        assert state.for_site[site][LATE].tolist() == pytest.approx([5 / 3, 2.0], abs=0.1)
    everyone = merged(FedEase(graph=False).build().merge, start(100), replies)
    assert everyone.for_site["c"][EARLY][0].item() == pytest.approx(1 / 3, abs=0.05)
    graph = FEDEASE.merge.artefacts(state)[GRAPH]
    assert [(edge.one, edge.other) for edge in graph.edges] == [("a", "b")]
    assert FedEase(graph=False).build().merge.artefacts(state) == {}


def test_a_site_that_was_not_asked_keeps_what_it_would_receive():
    merge = FEDEASE.merge
    both = merged(
        merge, start(4), [reply("a", [1.0, 0.0], [1.0, 0.0]), reply("b", [1.0, 0.0], [3.0, 0.0])]
    )
    after = merged(merge, both, [reply("a", [2.0, 0.0], [2.0, 0.0])])
    assert torch.equal(after.for_site["b"][LATE], both.for_site["b"][LATE])
    assert after.for_site["a"][LATE].tolist() == pytest.approx([2.0, 0.0])


def test_whole_numbers_stay_the_sites_own():
    own, other = {"n": torch.tensor(3)}, {"n": torch.tensor(9)}
    assert lerp(own, other, 0.5)["n"].item() == 3


def test_the_graph_is_of_encoder_stages_0_and_1():
    names = (EARLY, "encoder.1.blocks.1.conv.weight", LATE, "decoder.0.up.weight", "heads.0.weight")
    assert [in_first_stages(name) for name in names] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (FedEase(annealing=False, graph=False), "is FedAvg"),
        (FedEase(private=("encoder",)), "which is private"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        settings.build()


def test_without_annealing_each_site_receives_its_mean_to_the_end():
    replies = [reply("a", [1.0, 0.0], [4.0, 0.0]), reply("b", [3.0, 0.0], [0.0, 0.0])]
    state = merged(FedEase(annealing=False).build().merge, start(1), replies)
    assert state.for_site["a"][LATE].tolist() == [2.0, 0.0]
