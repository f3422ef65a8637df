from __future__ import annotations

import numpy as np
import pytest
import torch

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.masked_payload import MaskedPayload
from fednnunet.federation.secure_spec import SecureAggregation
from fednnunet.federation.wire.extras import join

RECEIVED = {
    "weight": torch.tensor([[1.0, -2.0], [3.0, 0.5]]),
    "half": torch.tensor([1.0, 2.0], dtype=torch.float16),
    "batches": torch.tensor(100),
}
SENT = join(
    {
        "weight": RECEIVED["weight"] + 0.25,
        "half": RECEIVED["half"] + 1,
        "batches": RECEIVED["batches"] + 7,
    },
    {"control/weight": torch.full((2, 2), 1e4)},
)


def payload(sites=2, **settings) -> MaskedPayload:
    return MaskedPayload(
        settings=SecureAggregation(**settings), received=RECEIVED, like=SENT, sites=sites
    )


def test_the_mean_of_two_sites_comes_back_as_it_was_sent():
    other = {name: tensor + 1 for name, tensor in SENT.items()}
    total = payload().encode(SENT, 0.25) + payload().encode(other, 0.75)
    mean = payload().decode(total, 1.0)
    assert list(mean) == list(SENT)
    for name, tensor in SENT.items():
        assert mean[name].dtype == tensor.dtype and mean[name].shape == tensor.shape
    torch.testing.assert_close(mean["weight"], SENT["weight"] + 0.75)
    torch.testing.assert_close(mean["extras/control/weight"], torch.full((2, 2), 1e4 + 0.75))
    assert int(mean["batches"]) == 108  # 107 and 108, the second by three quarters
    assert len(total) == payload().size == 11


def test_the_sum_of_a_part_of_the_sites_is_scaled_to_their_weights():
    mean = payload().decode(payload().encode(SENT, 0.25), 4.0)
    torch.testing.assert_close(mean["weight"], SENT["weight"])
    assert int(mean["batches"]) == 107


def test_a_change_is_cut_to_the_norm_and_counters_are_not():
    mean = payload(clip=0.5).decode(payload(clip=0.5).encode(SENT, 1.0), 1.0)
    change = torch.cat([(mean[n] - RECEIVED[n]).flatten().double() for n in ("weight", "half")])
    assert float(change.norm()) == pytest.approx(0.5, rel=1e-3)
    assert int(mean["batches"]) == 107


def test_a_training_that_diverged_is_not_summed():
    for value in (float("nan"), float("inf"), 1e7):
        broken = {**SENT, "weight": torch.full((2, 2), value)}
        with pytest.raises(FedNNUNetError, match="under masks"):
            payload().encode(broken, 0.5)
    with pytest.raises(FedNNUNetError, match="under masks"):
        payload(clip=1.0).encode({**SENT, "weight": torch.full((2, 2), float("nan"))}, 0.5)


def test_32_bits_take_half_the_bytes():
    words = payload(bits=32, clip=10.0).encode(SENT, 0.5)
    assert words.dtype == np.uint32 and words.nbytes == 44
