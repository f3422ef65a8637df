"""Changes in bfloat16: what is sent, what the coordinator gets, and what the site remembers."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import ReplyError
from fednnunet.federation.filters.delta_bfloat16 import DeltaBfloat16
from fednnunet.federation.filters.filter import FilterContext

RECEIVED = {
    "w": torch.randn(50, generator=torch.Generator().manual_seed(0)),
    "count": torch.tensor(3),
    "extras/control": torch.ones(4),
}


def a_context(**changes) -> FilterContext:
    values: dict = {"site": "a", "run": "", "round": 0, "phase": "joint", "received": RECEIVED}
    return FilterContext(**{**values, **changes})


def trained(step=0.01):
    noise = torch.randn(50, generator=torch.Generator().manual_seed(1))
    return {**RECEIVED, "w": RECEIVED["w"] + step * noise}


def test_the_change_travels_in_half_the_bytes_and_is_added_again():
    sent = DeltaBfloat16().site(trained(), a_context())
    assert sent["w"].dtype == torch.bfloat16
    back = DeltaBfloat16().coordinator(sent, a_context())
    assert back["w"].dtype == torch.float32
    change = trained()["w"] - RECEIVED["w"]
    torch.testing.assert_close(back["w"] - RECEIVED["w"], change, rtol=2**-8, atol=1e-6)


def test_counters_extras_and_tensors_not_received_are_sent_as_they_are():
    payload = {**trained(), "new": torch.ones(2) / 3}
    sent = DeltaBfloat16().site(payload, a_context())
    for name in ("count", "extras/control", "new"):
        assert sent[name] is payload[name]
    assert DeltaBfloat16().coordinator(sent, a_context())["new"] is payload["new"]


def test_what_rounding_loses_is_sent_later():
    """Over many rounds of the same change the sum of what is sent has the error of one round."""
    change = torch.full((50,), 1.003)
    payload = {"w": RECEIVED["w"] + change}
    errors = {}
    for feedback in (True, False):
        one, memory, total = DeltaBfloat16(error_feedback=feedback), {}, torch.zeros(50)
        for _ in range(32):
            total += one.site(payload, a_context(memory=memory))["w"].float()
        errors[feedback] = float((total - 32 * change).abs().max())
        assert bool(memory) == feedback
    assert errors[True] < 2**-8 * 1.1 < errors[False]


@pytest.mark.parametrize("change", [torch.zeros(50), torch.zeros(49, dtype=torch.bfloat16)])
def test_what_the_site_half_cannot_have_made_is_refused(change):
    with pytest.raises(ReplyError, match="the change of tensor w is") as caught:
        DeltaBfloat16().coordinator({"w": change}, a_context())
    assert "training.filters" in caught.value.mend
