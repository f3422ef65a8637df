"""Digests of what messages say."""

from __future__ import annotations

from dataclasses import replace

import torch

from fednnunet.federation.wire.content_digests import ContentDigests
from fednnunet.federation.wire.messages import pack, unpack
from fednnunet.federation.wire.round_log import LogExtract
from tests.federation.site_fakes import INVITE

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.tensor(3, dtype=torch.int64),
    "none": torch.empty(0),
}


def test_it_is_of_names_types_shapes_and_values_in_any_order():
    digest = ContentDigests().tensors
    first = digest(TENSORS)
    assert digest(dict(reversed(TENSORS.items()))) == first
    for changed in (
        {"b": TENSORS["b"] + 1e-6},
        {"b": TENSORS["b"].reshape(3, 2)},
        {"b": TENSORS["b"].double()},
        {"b": TENSORS["b"].T.contiguous().T, "c": torch.zeros(1)},
    ):
        assert digest({**TENSORS, **changed}) != first
    strided = torch.arange(6.0).reshape(3, 2).T.contiguous().T.T
    assert digest({"x": strided}) == digest({"x": strided.contiguous()})


def test_an_invite_says_the_same_with_other_lines_of_the_log():
    digests = ContentDigests()
    invite = replace(INVITE, tensors=TENSORS)
    shown = replace(invite, log=LogExtract(lines=("x",)))
    read = unpack(pack(shown), sender="the coordinator")
    assert digests.invite(invite) == ContentDigests().invite(read)
    assert digests.invite(invite) != digests.invite(replace(invite, round=1))
    assert digests.invite(invite) != digests.invite(replace(invite, tensors={}))
