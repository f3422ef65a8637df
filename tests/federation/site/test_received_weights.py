"""What a site keeps of the weights that it was sent; both sides: coordinator/test_sent_weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import RefusalError
from fednnunet.federation.filters.quantised import Quantised
from fednnunet.federation.site.received_weights import FOLDER, ReceivedWeights
from tests.federation.site_fakes import INVITE

WEIGHTS = {"encoder.0.blocks.0.conv.weight": torch.ones(2, 1, 3, 3, 3)}


def a_round(number, tensors):
    return replace(INVITE, round=number, resume_round=number, tensors=tensors)


def test_without_filters_nothing_is_kept(tmp_path):
    received = ReceivedWeights(base=tmp_path, filters=())
    received.keep(a_round(0, WEIGHTS))
    assert not (tmp_path / FOLDER).exists()


def test_the_last_two_rounds_are_kept(tmp_path):
    received = ReceivedWeights(base=tmp_path, filters=(Quantised(),))
    for number in range(4):
        received.keep(a_round(number, WEIGHTS))
    names = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    assert names == ["joint_000002.safetensors", "joint_000003.safetensors"]


@pytest.mark.parametrize("code", [torch.zeros(3, dtype=torch.uint8), torch.zeros(2).bfloat16()])
def test_codes_that_cannot_be_read_are_refused(tmp_path, code):
    received = ReceivedWeights(base=tmp_path, filters=(Quantised(),))
    received.keep(a_round(0, WEIGHTS))
    invite = a_round(1, dict.fromkeys(WEIGHTS, code))
    with pytest.raises(RefusalError, match="cannot be read") as caught:
        received.whole(invite)
    assert caught.value.advice == "as_agreed"
    with pytest.raises(RefusalError, match="are not there") as caught:
        received.whole(replace(invite, round=5, resume_round=5))
    assert caught.value.advice == "restore_state"


def test_whole_weights_stay_as_they_are(tmp_path):
    received = ReceivedWeights(base=tmp_path, filters=(Quantised(),))
    invite = a_round(3, WEIGHTS)
    assert received.whole(invite) is invite
