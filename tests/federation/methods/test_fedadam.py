"""FedAdam against torch's Adam on the same pseudo-gradient, and by its own formula."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.fedadam import Adam, FedAdam
from fednnunet.federation.methods.merge import Reply, State
from tests.contracts.helpers import merged
from tests.federation.methods.server_rounds import ours, theirs


def test_fedadam_with_its_bias_corrected_is_torchs_adam():
    torch.testing.assert_close(
        ours(Adam(learning_rate=0.02, beta1=0.8, beta2=0.95, adaptivity=1e-3, correct_bias=True)),
        theirs(lambda ws: torch.optim.Adam(ws, lr=0.02, betas=(0.8, 0.95), eps=1e-3)),
        rtol=1e-11,
        atol=1e-12,
    )


def test_fedadam_as_published_takes_its_formulas_first_step():
    adam = Adam(learning_rate=0.02, beta1=0.9, beta2=0.99, adaptivity=1e-3, correct_bias=False)
    change = torch.tensor([0.5, -2.0, 0.0], dtype=torch.float64)
    zero = torch.zeros_like(change)
    update, moments = adam(change, {"first": zero, "second": zero}, 1)
    expected = 0.02 * (0.1 * change) / (0.1 * change.abs() + 1e-3)
    torch.testing.assert_close(update, expected)
    torch.testing.assert_close(moments["first"], 0.1 * change)
    torch.testing.assert_close(moments["second"], 0.01 * change.square())


def test_moments_keep_at_least_single_precision():
    for dtype, kept in ((torch.float16, torch.float32), (torch.float64, torch.float64)):
        start = State(round=0, shared={"w": torch.zeros(2, dtype=dtype)})
        there = Reply(site="a", tensors={"w": torch.ones(2, dtype=dtype)}, cases=1, loss=1.0)
        state = merged(METHODS["fedadam"].merge, start, [there])
        assert state.shared["w"].dtype == dtype
        assert {tensor.dtype for tensor in state.memory.values()} == {kept}
        assert set(state.memory) == {"first/w", "second/w"}


@pytest.mark.parametrize("settings", [FedAdam(beta2=1.0), FedAdam(adaptivity=0.0)])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="learning_rate is"):
        settings.build()
