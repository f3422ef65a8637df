"""A mean for each site, over those with similar updates."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.evaluation.site_graph import SiteGraph
from fednnunet.federation.coordinator.history import RoundRecord, load_last, save_round
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.similarity import BySimilarity, Similarity
from tests.contracts.helpers import merged

NAME = "encoder.0.blocks.0.conv.weight"
MERGE = Similarity().build().merge
START = State(round=0, shared={NAME: torch.zeros(2)})


def sent(**changes: tuple[float, float]) -> list[Reply]:
    return [
        Reply(site=site, tensors={NAME: torch.tensor(change)}, cases=1 + i, loss=0.0)
        for i, (site, change) in enumerate(sorted(changes.items()))
    ]


def test_each_site_receives_its_neighbourhoods_mean_by_cases_and_similarity():
    state = merged(MERGE, START, sent(a=(1.0, 0.0), b=(1.0, 1.0), c=(0.0, 2.0)))
    half = math.sqrt(0.5)
    # a and c are at a right angle: no edge. b is at 45 degrees to both.
    weights = {"a": (1, 2 * half, 0), "b": (half, 2, 3 * half), "c": (0, 2 * half, 3)}
    replies = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    for site, row in weights.items():
        expected = torch.tensor(row) @ replies / sum(row)
        torch.testing.assert_close(state.received(site)[NAME], expected)
    torch.testing.assert_close(state.shared[NAME], torch.tensor([1, 2, 3.0]) @ replies / 6)


def test_sites_with_updates_of_one_direction_receive_fedavgs_mean():
    state = merged(MERGE, START, sent(a=(1.0, 0.0), b=(3.0, 0.0)))
    for site in "ab":
        torch.testing.assert_close(state.received(site)[NAME], state.shared[NAME])


def test_a_site_similar_to_no_other_trains_alone():
    state = merged(MERGE, START, sent(a=(1.0, 0.0), b=(1.0, 0.1), c=(-1.0, 0.0)))
    assert state.received("c")[NAME].tolist() == [-1.0, 0.0]
    assert not MERGE.graph(state).edges("c")


def test_an_update_is_what_a_site_changed_in_what_it_received():
    first = merged(MERGE, START, sent(a=(1.0, 0.0), b=(-1.0, 0.0)))
    perturbed = [
        replace(reply, tensors={NAME: first.received(reply.site)[NAME] + torch.tensor([0.0, 1.0])})
        for reply in sent(a=(0.0, 0.0), b=(0.0, 0.0))
    ]
    second = merged(MERGE, first, perturbed)
    # Opposite in the first round and the same in the second: halfway, by the decay of 0.5.
    assert float(second.memory["similarity/a/b"]) == pytest.approx(0.0)


def test_who_did_not_reply_keeps_what_it_would_receive_and_newcomers_receive_what_is_shared():
    state = merged(MERGE, START, sent(a=(1.0, 0.0), b=(1.0, 0.0)))
    later = merged(MERGE, state, sent(a=(5.0, 0.0)))
    assert torch.equal(later.received("b")[NAME], state.received("b")[NAME])
    assert torch.equal(later.received("new")[NAME], later.shared[NAME])


@pytest.mark.parametrize("over", [None, lambda name: name != NAME])
def test_the_state_survives_the_disk(tmp_path, over):
    """Also where all sites are sent the same tensor, as those outside `over`."""
    state = merged(
        BySimilarity(min_similarity=0.0, decay=0.5, over=over),
        START,
        sent(a=(1.0, 0.0), b=(1.0, 1.0)),
    )
    record = RoundRecord(key="k", round=1, phase="joint", shift=0.0, sites={}, refused={})
    save_round(tmp_path, state, record)
    loaded, _ = load_last(tmp_path, key="k")
    assert loaded.for_site.keys() == {"a", "b"}
    for site in "ab":
        assert torch.equal(loaded.received(site)[NAME], state.received(site)[NAME])


def test_the_graph_holds_sites_and_their_similarities():
    state = merged(MERGE, START, sent(c=(1.0, 0.0), a=(1.0, 1.0), b=(-1.0, 0.0)))
    graph = SiteGraph.of(MERGE.graph(state), round=state.round)
    assert graph.sites == ("a", "b", "c")
    assert [(edge.one, edge.other) for edge in graph.edges] == [("a", "c")]
    assert graph.edges[0].similarity == pytest.approx(math.sqrt(0.5))


def test_impossible_constants_are_refused():
    with pytest.raises(InputError, match="decay 1"):
        BySimilarity(min_similarity=0.0, decay=1.0)
