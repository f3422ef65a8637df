"""Cases without labels teach nothing, finitely."""

from __future__ import annotations

import torch

from fednnunet.supervision import UNKNOWN, Supervision
from tests.labels.losses import logits_like, loss_of

NONE = Supervision(kind="none")


def test_it_is_zero_with_a_gradient_of_zero_also_where_logits_overflowed():
    labels = torch.full((2, 4, 4, 4), UNKNOWN, dtype=torch.int16)
    logits = logits_like(labels).detach().half()
    logits[0, 0, 0, 0, 0] = torch.inf
    logits.requires_grad_()
    value = loss_of(NONE)([logits], labels)
    value.backward()
    assert value.dtype == torch.float32 and float(value.detach()) == 0
    assert logits.grad is not None and not logits.grad.any()


def test_every_resolution_that_a_loss_sees_gets_a_gradient():
    labels = torch.full((1, 8, 8, 8), UNKNOWN, dtype=torch.int16)
    levels = [
        logits_like(labels),
        logits_like(torch.zeros(1, 4, 4, 4)),
        logits_like(torch.zeros(1, 2, 2, 2)),
    ]
    loss_of(NONE, features=(4, 6, 8, 8))(levels, labels).backward()
    assert [x.grad is not None for x in levels] == [True, True, False]
