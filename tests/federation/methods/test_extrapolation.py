"""FedExP's longer step, against figures worked out by hand."""

from __future__ import annotations

import pytest
import torch

from fednnunet.federation.methods.extrapolation import FACTOR, Extrapolated
from fednnunet.federation.methods.merge import Reply, State
from tests.contracts.helpers import merged

START = State(round=0, shared={"encoder.0.w": torch.tensor([1.0, 1.0, 1.0])})


def replies(*updates: list[float], cases: int = 5) -> list[Reply]:
    return [
        Reply(
            site=f"s{i}",
            tensors={"encoder.0.w": START.shared["encoder.0.w"] + torch.tensor(update)},
            cases=cases,
            loss=1.0,
        )
        for i, update in enumerate(updates)
    ]


def test_the_step_is_longer_by_half_the_ratio_of_squared_norms():
    """Three orthogonal updates: mean square 4, square of the mean 4 / 3, so 4 / (2 * 4/3)."""
    sent = replies([2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0])
    state = merged(Extrapolated(bound=2.0), START, sent)
    torch.testing.assert_close(state.shared["encoder.0.w"], torch.full((3,), 1 + 1.5 * 2 / 3))
    assert float(state.memory[FACTOR]) == pytest.approx(1.5)


def test_the_bound_holds():
    sent = replies([2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0])
    state = merged(Extrapolated(bound=1.2), START, sent)
    torch.testing.assert_close(state.shared["encoder.0.w"], torch.full((3,), 1 + 1.2 * 2 / 3))


def test_updates_that_agree_are_averaged_as_by_fedavg():
    state = merged(Extrapolated(), START, replies([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    assert torch.equal(state.shared["encoder.0.w"], torch.tensor([2.0, 3.0, 4.0]))
    assert float(state.memory[FACTOR]) == 1.0


def test_a_round_in_which_nothing_moved_changes_nothing():
    state = merged(Extrapolated(), START, replies([0.0, 0, 0], [0.0, 0, 0]))
    assert torch.equal(state.shared["encoder.0.w"], START.shared["encoder.0.w"])


def test_the_order_of_the_replies_changes_no_bit():
    generator = torch.Generator().manual_seed(0)
    sent = replies(*torch.randn(5, 3, generator=generator).tolist())
    one, other = (merged(Extrapolated(), START, order) for order in (sent, sent[::-1]))
    assert torch.equal(one.shared["encoder.0.w"], other.shared["encoder.0.w"])


def test_running_statistics_take_no_longer_step():
    old = {"encoder.0.norm.running_var": torch.tensor([1.0])}
    state = State(round=0, shared={**START.shared, **old})
    sent = [
        Reply(site=s.site, cases=5, loss=1.0,
              tensors={**s.tensors, "encoder.0.norm.running_var": torch.tensor([3.0])})
        for s in replies([2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0])
    ]  # fmt: skip
    new = merged(Extrapolated(), state, sent)
    assert torch.equal(new.shared["encoder.0.norm.running_var"], torch.tensor([3.0]))
