from __future__ import annotations

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.message import MAX_ROUNDS, Message
from fednnunet.federation.wire.messages import PrepareReply, ProbeInvite


def test_a_message_has_no_tensors_unless_they_are_given():
    assert Message().tensors == {}
    assert PrepareReply(training_cases=1, held_out_cases=0).tensors == {}


@pytest.mark.parametrize("number", [-1, MAX_ROUNDS + 1])
def test_a_number_out_of_its_range_makes_no_message(number):
    with pytest.raises(ReplyError, match="round is"):
        ProbeInvite(run="", method="fedavg", round=number)
