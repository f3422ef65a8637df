from __future__ import annotations

import pytest

from fednnunet.errors import ReplyError
from fednnunet.federation.wire.training_messages import TrainReply

REPLY = {
    "run": "",
    "round": 0,
    "phase": "joint",
    "cases": 3,
    "loss": 0.5,
    "seconds": 1.0,
    "wait_share": 0.0,
}


def test_figures_out_of_their_range_make_no_reply():
    assert TrainReply(**REPLY).iterations == 1
    for name, value in (("cases", 0), ("loss", float("nan")), ("wait_share", 1.5)):
        with pytest.raises(ReplyError, match=name):
            TrainReply(**{**REPLY, name: value})
