"""Auxiliary tensors under a prefix of their own."""

from __future__ import annotations

import torch

from fednnunet.federation.wire.extras import is_extra, join, split

WEIGHT, CORRECTION = torch.tensor([1.0]), torch.tensor([2.0])


def test_a_tensor_and_its_extra_of_the_same_name_stay_apart():
    message = join({"w": WEIGHT}, {"w": CORRECTION})
    assert len(message) == 2
    assert [name for name in message if not is_extra(name)] == ["w"]
    network, extras = split(message)
    assert network == {"w": WEIGHT} and extras == {"w": CORRECTION}


def test_without_extras_nothing_changes():
    assert join({"w": WEIGHT}, {}) == {"w": WEIGHT}
    assert split({"w": WEIGHT}) == ({"w": WEIGHT}, {})


def test_joining_leaves_the_parts_as_they_were():
    tensors = {"w": WEIGHT}
    join(tensors, {"w": CORRECTION})
    assert tensors == {"w": WEIGHT}
