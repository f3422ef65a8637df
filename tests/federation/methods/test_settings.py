"""Settings of methods: names, labels, what is shared, and how they stand in a file."""

from __future__ import annotations

from itertools import combinations

import pytest

from fednnunet.errors import InputError
from fednnunet.federation.methods.fedprox import FedProx
from fednnunet.federation.methods.settings import PARTS, AllBut
from fednnunet.federation.training_spec import Training
from fednnunet.network.roles import is_norm, role

NO_PAPER = {"local", "pooled"}
NAMES = (
    "encoder.0.blocks.0.conv.weight",
    "encoder.0.blocks.0.norm.weight",
    "decoder.0.blocks.0.norm.bias",
    "decoder.0.up.weight",
    "heads.0.weight",
)


@pytest.mark.parametrize(
    "private",
    [
        parts
        for n in range(len(PARTS) + 1)
        for parts in combinations(PARTS, n)
        if not {"head", "decoder", "encoder"} <= set(parts)
    ],
)
def test_private_parts_are_not_shared(private):
    for name in NAMES:
        inside = role(name) in private or ("norm" in private and is_norm(name))
        assert AllBut(private)(name) != inside


@pytest.mark.parametrize(
    ("private", "words"),
    [
        (("head", "head"), "name each part once"),
        (("nose",), "any of norm, head"),
        (("encoder", "decoder", "head"), 'method = "local"'),
        (("encoder", "decoder", "head", "norm"), "nothing is shared"),
    ],
)
def test_private_parts_that_make_no_sense_are_refused(private, words):
    with pytest.raises(InputError) as caught:
        Training(method=FedProx(private=private))
    assert words in str(caught.value)
