"""FedAvg's weights and its private parts."""

from __future__ import annotations

import pytest

from fednnunet.federation.methods.fedavg import FedAvg
from tests.contracts.helpers import merged
from tests.federation.methods.replies import NAME, a_reply, a_state

REPLIES = [a_reply("a", (0.0, 8.0), cases=3), a_reply("b", (4.0, 0.0), cases=1)]


@pytest.mark.parametrize(("weights", "mean"), [("cases", [1.0, 6.0]), ("uniform", [2.0, 4.0])])
def test_sites_count_by_their_cases_or_alike(weights, mean):
    state = merged(FedAvg(weights=weights).build().merge, a_state(), REPLIES)
    assert state.shared[NAME].tolist() == mean


def test_all_is_shared_but_the_private_parts():
    names = (NAME, "encoder.0.blocks.0.norm.weight", "decoder.0.up.weight", "heads.0.weight")
    tensors = dict.fromkeys(names, a_state().shared[NAME])
    assert set(FedAvg().build().shared(tensors)) == set(names)
    assert set(FedAvg(private=("norm",)).build().private(tensors)) == {names[1]}
    assert set(FedAvg(private=("decoder", "head")).build().private(tensors)) == set(names[2:])
