from __future__ import annotations

import numpy as np
import pytest
import torch

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.secure.protocol import PublicKeys, Revealed
from fednnunet.federation.wire.limits import reply_limit
from fednnunet.federation.wire.messages import TrainInvite, TrainReply, pack, unpack
from fednnunet.federation.wire.secure_messages import (
    SECURE_KINDS,
    KeysReply,
    MaskedTrainInvite,
    MaskedTrainReply,
    SharesInvite,
    UnmaskReply,
    masked_tensors,
    masked_words,
)

PLAIN = TrainInvite(
    tensors={"w": torch.ones(3)},
    run="",
    method="fedavg",
    round=1,
    phase="joint",
    resume_round=1,
    iterations=2,
    schedule_start=2,
    schedule_length=4,
)


def test_a_masked_invite_is_the_plain_one_and_its_session():
    invite = MaskedTrainInvite.of(PLAIN, session="s", partners=("a", "b"), total=3.0)
    back = unpack(pack(invite), sender="x")
    assert isinstance(back, MaskedTrainInvite) and back.partners == ("a", "b")
    assert type(back.plain) is TrainInvite and pack(back.plain) == pack(PLAIN)
    assert reply_limit(invite) == reply_limit(PLAIN)


@pytest.mark.parametrize("word", [np.uint32, np.uint64])
def test_words_travel_whole(word):
    words = np.array([0, 1, np.iinfo(word).max], word)
    reply = MaskedTrainReply(
        tensors=masked_tensors(words),
        run="",
        round=0,
        phase="joint",
        cases=3,
        loss=None,
        seconds=1.0,
        wait_share=0.0,
    )
    back = unpack(pack(reply), sender="x")
    bits = words.itemsize * 8
    assert (masked_words(back, 3, bits, site="a") == words).all()
    assert type(reply.plain) is TrainReply and not reply.plain.tensors
    for size, other in ((2, bits), (3, 96 - bits)):
        with pytest.raises(ReplyError, match="not one vector of"):
            masked_words(back, size, other, site="a")


def test_records_in_messages_are_read_strictly():
    reply = KeysReply(keys=PublicKeys(cipher="00", mask="11", signature="22", signer="x"))
    assert unpack(pack(reply), sender="x") == reply
    shares = UnmaskReply(revealed=Revealed(seeds={"a": "00"}, masks={}))
    assert unpack(pack(shares), sender="x") == shares
    forged = pack(reply).replace(b"cipher", b"cypher")
    with pytest.raises(FedNNUNetError):
        unpack(forged, sender="x")
    with pytest.raises(ReplyError, match="threshold"):
        SharesInvite(topic="training", session="s", threshold=0, roster={})


def test_every_kind_says_what_it_is_in_words():
    assert len({kind.words for kind in SECURE_KINDS}) == len(SECURE_KINDS)
    masked = [kind for kind in SECURE_KINDS if kind.__name__.startswith("Masked")]
    assert all("under masks" in kind.words for kind in masked)
