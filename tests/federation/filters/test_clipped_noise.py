"""An update clipped by hand, its noise, and what a filter chain makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.filters.clipped_noise import ClippedNoise
from fednnunet.federation.privacy.settings import Privacy
from fednnunet.federation.training_spec import Training
from tests.federation.filters.contexts import CONV, NORM, RECEIVED, a_context

CLIP = ClippedNoise(clip=1.0, noise=0.0)
START = {name: RECEIVED[name] for name in (CONV, NORM)}


def moved(conv: float, norm: float) -> dict[str, torch.Tensor]:
    """The received tensors with one entry of each changed."""
    found = {name: tensor.clone() for name, tensor in START.items()}
    found[CONV].view(-1)[0] += conv
    found[NORM][0] += norm
    return found


def changes(found) -> tuple[float, float]:
    one, other = found[CONV] - START[CONV], found[NORM] - START[NORM]
    assert not one.view(-1)[1:].any()
    assert not other[1:].any()
    return float(one.view(-1)[0]), float(other[0])


def test_a_long_update_is_shortened_over_all_tensors_together():
    found = changes(CLIP.site(moved(3.0, -4.0), a_context()))
    assert found == pytest.approx((0.6, -0.8), rel=1e-5)


def test_a_short_update_stays():
    found = changes(CLIP.site(moved(0.3, -0.4), a_context()))
    assert found == pytest.approx((0.3, -0.4), rel=1e-5)


def test_the_noise_has_its_scale_and_is_the_keys():
    one, memory = ClippedNoise(clip=0.5, noise=2.0), {}
    found = one.site(moved(3.0, -4.0), a_context(memory=memory))
    noise = torch.cat([(found[name] - START[name]).flatten() for name in (CONV, NORM)])
    assert abs(float(noise.std()) - 1.0) < 5 / (2 * len(noise)) ** 0.5
    again = one.site(moved(3.0, -4.0), a_context(memory=dict(memory)))
    assert torch.equal(found[CONV], again[CONV])
    other = one.site(moved(3.0, -4.0), a_context())
    assert not torch.equal(found[CONV], other[CONV])


def test_another_update_or_round_has_other_noise():
    one, memory = ClippedNoise(clip=1.0, noise=1.0), {}
    base = one.site(moved(0.0, 0.0), a_context(memory=memory))[NORM]
    update = one.site(moved(0.0, 0.5), a_context(memory=memory))[NORM]
    later = one.site(moved(0.0, 0.0), a_context(memory=memory, round=1))[NORM]
    assert not torch.isclose(update[1:], base[1:]).any()
    assert not torch.isclose(later, base).any()


def test_what_has_no_noise_is_not_sent():
    for name in ("count", "extras/control"):
        payload = {**START, name: RECEIVED[name]}
        with pytest.raises(FedNNUNetError, match="cannot be sent with noise"):
            CLIP.site(payload, a_context())


def test_values_that_are_not_finite_are_not_sent():
    with pytest.raises(FedNNUNetError, match="not finite"):
        CLIP.site(moved(float("nan"), 0), a_context())


def test_nothing_stays_nothing_and_the_coordinator_changes_nothing():
    assert ClippedNoise(clip=1.0, noise=1.0).site({}, a_context()) == {}
    assert CLIP.coordinator(START, a_context()) is START
    assert "clipped to 1" in CLIP.words


def test_it_comes_before_all_other_filters():
    privacy = Privacy(unit="site", clip=2.0, noise=0.5)
    training = Training(filters=("delta_bfloat16",), privacy=privacy)
    first, second = training.filter_chain
    assert first == ClippedNoise(clip=2.0, noise=0.5)
    assert replace(training, privacy=None).filter_chain == (second,)
    assert replace(training, privacy=Privacy()).filter_chain == (second,)
