from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.coordinator.update_bound import (
    FIRST_EXTRAS,
    UpdateBound,
    check_state,
    norm_of,
)
from fednnunet.federation.methods.merge import State
from fednnunet.federation.training_spec import Training

RECEIVED = {"w": torch.full((4,), 2.0), "steps": torch.tensor(10**6)}  # norm 4


def moved(norm: float) -> dict[str, torch.Tensor]:
    return RECEIVED | {"w": RECEIVED["w"] + norm / 2}


def a_round(phase: str, *norms: float, extras: float = 0.0) -> SimpleNamespace:
    sites = {
        str(place): SimpleNamespace(update_norm=norm, extras_norm=extras)
        for place, norm in enumerate(norms)
    }
    return SimpleNamespace(phase=phase, sites=sites)


def test_whole_numbers_have_no_norm():
    assert norm_of(RECEIVED) == 4.0
    assert norm_of({}) == 0.0


def test_the_median_is_that_of_accepted_updates_of_the_same_phase():
    history = [
        a_round("joint", 1.0, 3.0, extras=5.0),
        a_round("public", 900.0),
        a_round("joint", 2.0, 0.0),
    ]
    bound = UpdateBound.of(history, "joint", Training(iterations_per_round=7))
    assert (bound.median, bound.extras_median, bound.iterations) == (2.0, 5.0, 7)
    assert UpdateBound.of(history, "personal", Training()).median is None


def test_an_update_may_be_as_long_as_the_limit_and_no_longer():
    bound = UpdateBound(ratio=3.0, iterations=25, median=1.0)
    assert bound.check(moved(3.0), RECEIVED, site="a", iterations=25) == pytest.approx(3.0)
    with pytest.raises(ReplyError, match=r"norm 3.1, more than 3") as caught:
        bound.check(moved(3.1), RECEIVED, site="a", iterations=25)
    assert "site a" in caught.value.where


def test_the_first_round_is_bounded_by_the_weights_that_were_received():
    bound = UpdateBound(ratio=3.0, iterations=25)
    bound.check(moved(12.0), RECEIVED, site="a", iterations=25)
    with pytest.raises(ReplyError):
        bound.check(moved(12.5), RECEIVED, site="a", iterations=25)
    zero = {"w": torch.zeros(4)}
    assert bound.limit(zero, 25) == 3.0  # a part of a network may begin at zero


def test_an_update_that_is_not_a_number_is_above_every_limit():
    bound = UpdateBound(ratio=1e6, iterations=25, median=1e6)
    with pytest.raises(ReplyError):
        bound.check(moved(float("nan")), RECEIVED, site="a", iterations=25)


def test_extras_are_bounded_by_the_weights_and_later_by_their_median():
    first = UpdateBound(ratio=2.0, iterations=25)
    assert first.check_extras({"control/w": torch.full((4,), 8.0)}, RECEIVED, site="a") == 16.0
    with pytest.raises(ReplyError, match="auxiliary tensors"):
        first.check_extras({"control/w": torch.full((4,), 8.1)}, RECEIVED, site="a")
    spectrum = {"amplitude/mean": torch.full((4,), 1e6)}  # no tensor of the network's
    first.check_extras(spectrum, RECEIVED, site="a")
    with pytest.raises(ReplyError):
        first.check_extras({"amplitude/mean": torch.tensor([2 * FIRST_EXTRAS])}, RECEIVED, site="a")
    later = UpdateBound(ratio=2.0, iterations=25, median=1.0, extras_median=1.0)
    with pytest.raises(ReplyError):
        later.check_extras(spectrum, RECEIVED, site="a")


def test_without_a_ratio_nothing_is_refused():
    bound = UpdateBound(ratio=0.0, iterations=25, median=1.0, extras_median=1.0)
    assert bound.check(moved(1e9), RECEIVED, site="a", iterations=25) > 1e8
    assert bound.check_extras({"control/w": torch.full((4,), 1e9)}, RECEIVED, site="a") > 1e8


def test_a_state_is_kept_only_if_it_is_finite():
    state = State(round=2, shared={"w": torch.ones(2), "n": torch.tensor(3)})
    check_state(state)
    bad = State(round=2, shared=state.shared, for_site={"a": {"w": torch.tensor([float("nan")])}})
    with pytest.raises(FedNNUNetError, match="tensor w holds values that are not finite"):
        check_state(bad)
