from __future__ import annotations

import pytest

from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.merge import Reply
from fednnunet.federation.methods.public_weights import public_weight

REPLY = Reply(site="a", tensors={}, cases=12, loss=None, iterations=4)


@pytest.mark.parametrize(
    ("method", "weight"),
    [("fedavg", 12), ("fedavg_uniform", 1), ("fedadam", 12), ("fednova", 3), ("scaffold", 12)],
)
def test_the_weight_follows_from_open_figures(method, weight):
    found = public_weight(METHODS[method].merge)
    assert found is not None and found(REPLY) == weight


@pytest.mark.parametrize(
    "method", ["fedease", "fedadp", "qfedavg", "propfair", "qfedavg_dice", "fedproto", "local"]
)
def test_others_have_none(method):
    assert public_weight(METHODS[method].merge) is None
