from __future__ import annotations

import numpy as np
import pytest
import torch

from fednnunet.errors import FedNNUNetError, ReplyError
from fednnunet.federation.coordinator.masked import MaskedQuestion, masked_sum
from fednnunet.federation.secure_spec import SecureAggregation
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.federation.wire.secure_messages import MaskedTrainInvite, MaskedTrainReply
from tests.federation.fakes import INITIAL, SITES
from tests.federation.masked_sites import MaskedEngine, a_federation

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")

SIZE = sum(tensor.numel() for tensor in INITIAL.values())


def asked(tmp_path, *, lost=None, needed=2, **changes):
    federation = a_federation(secure=SecureAggregation(threshold=2))
    engine = MaskedEngine(tmp_path, federation, lost=lost)
    plain = TrainInvite(
        tensors=INITIAL,
        run="",
        method="fedavg",
        round=0,
        phase="joint",
        resume_round=0,
        iterations=1,
        schedule_start=0,
        schedule_length=4,
    )

    def invites(session, partners):
        invite = MaskedTrainInvite.of(plain, session=session, partners=partners, total=6.0)
        return dict.fromkeys(partners, invite)

    values = {
        "topic": "training",
        "expect": MaskedTrainReply,
        "invites": invites,
        "threshold": 2,
        "needed": needed,
        "size": SIZE,
        "what": "too few sites",
    }
    return masked_sum(engine, SITES, MaskedQuestion(**{**values, **changes}))


def test_the_replies_come_without_tensors_and_with_all_their_bytes(tmp_path):
    found = asked(tmp_path)
    assert found.partners == tuple(found.replies) == SITES and not found.errors
    assert all(not received.reply.tensors for received in found.replies.values())
    assert found.total.dtype == np.uint64 and found.total.shape == (SIZE,)
    assert not found.total.any() or found.total.view(np.int64).min() > 0  # all changes are up


def test_those_who_are_lost_are_named(tmp_path):
    found = asked(tmp_path / "one", lost={"SharesInvite": ("b",)})
    assert found.partners == tuple(found.replies) == ("a", "c") and list(found.errors) == ["b"]
    found = asked(tmp_path / "two", lost={"UnmaskInvite": ("b",)})
    assert tuple(found.replies) == SITES and not found.errors
    assert "did not help to remove masks" in found.faults["b"]


def test_without_enough_sites_no_mask_is_removed(tmp_path):
    with pytest.raises(FedNNUNetError, match="connection is gone"):
        asked(tmp_path / "one", lost={"KeysInvite": ("b",)}, needed=3)
    with pytest.raises(FedNNUNetError, match="too few sites"):
        asked(tmp_path / "two", lost={"MaskedTrainInvite": ("b", "c")})
    with pytest.raises(FedNNUNetError, match="too few sites"):
        asked(tmp_path / "three", lost={"UnmaskInvite": ("b", "c")})


def test_a_reply_that_is_refused_is_not_in_the_sum(tmp_path):
    def check(site, reply):
        if site == "c":
            raise ReplyError("no", mend="say yes")

    found = asked(tmp_path, check=check)
    assert tuple(found.replies) == ("a", "b") and found.errors["c"].what == "no"
    mean = torch.from_numpy(found.total.view(np.int64).astype(np.float64))
    assert float(mean.min()) > 0
    found = asked(tmp_path / "size", size=SIZE, needed=2)
    with pytest.raises(FedNNUNetError, match="not one vector"):
        asked(tmp_path / "other", size=SIZE + 1)
    assert len(found.replies) == 3
