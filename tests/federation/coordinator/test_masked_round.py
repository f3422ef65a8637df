from __future__ import annotations

import pytest
import torch

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.secure_spec import SecureAggregation
from fednnunet.federation.wire.secure_messages import MaskedTrainReply, masked_words
from tests.federation.fakes import INITIAL, PretendEngine, go
from tests.federation.masked_sites import MaskedEngine, a_federation, a_masked_run, same

pytest.importorskip("cryptography", reason="secure aggregation needs the extra `privacy`")


def trained(tmp_path, *, lost=None, secure=None, **settings):
    """The final state under masks and without them, and the engine of the first."""
    secure = secure or SecureAggregation()
    federation = a_federation(secure=secure, **settings)
    engine = MaskedEngine(tmp_path / "sites", federation, lost=lost)
    masked = go(a_masked_run(tmp_path / "masked", federation), engine)
    plain_run = a_masked_run(tmp_path / "plain", federation, secure=None)
    return masked, go(plain_run, PretendEngine()), engine


@pytest.mark.parametrize("method", ["fedavg", "fedavg_uniform", "fedavgm", "fednova", "scaffold"])
def test_a_method_of_the_mean_is_the_same_under_masks(method, tmp_path):
    masked, plain, _ = trained(tmp_path, method=method)
    same(masked.shared, plain.shared, 1e-6)
    same(masked.extras, plain.extras, 1e-6)
    same(masked.memory, plain.memory, 1e-5)


def test_private_parts_stay_and_public_rounds_are_masked(tmp_path):
    masked, plain, engine = trained(tmp_path, method="fedbn_head", personal_rounds=1)
    same(masked.shared, plain.shared, 1e-6)
    kinds = [type(reply).__name__ for name, reply in engine.seen if name == "a"]
    assert kinds.count("MaskedTrainReply") == 3  # two joint rounds and a public one
    assert kinds.count("TrainReply") == 1  # of the personal round, in which nothing leaves


def test_32_bits_and_a_clip_are_as_exact_as_they_say(tmp_path):
    secure = SecureAggregation(bits=32, clip=10.0)
    masked, plain, _ = trained(tmp_path, secure=secure)
    same(masked.shared, plain.shared, 1e-6)


def test_a_clip_is_the_norm_of_each_change(tmp_path):
    masked, _, _ = trained(tmp_path, secure=SecureAggregation(clip=0.1), rounds=1, public_rounds=0)
    change = torch.cat([(masked.shared[n] - INITIAL[n]).flatten() for n in INITIAL])
    assert float(change.norm()) == pytest.approx(0.1, rel=1e-6)  # all sites change alike here


@pytest.mark.parametrize("moment", ["KeysInvite", "SharesInvite", "MaskedTrainInvite"])
def test_a_site_that_drops_out_before_its_vector_is_not_in_the_sum(moment, tmp_path):
    settings = {"rounds": 1, "quorum": 2, "secure": SecureAggregation(threshold=2)}
    masked, _, _ = trained(tmp_path / "one", lost={moment: ("c",)}, **settings)
    step = (0.1 * 1 + 0.2 * 2) / 3  # sites add 0.1 and 0.2, and have one case and two
    same(masked.shared, {name: tensor + step for name, tensor in INITIAL.items()}, 1e-6)


def test_a_site_that_drops_out_after_its_vector_is_in_the_sum(tmp_path):
    settings = {"rounds": 1, "quorum": 2, "secure": SecureAggregation(threshold=2)}
    masked, plain, _ = trained(tmp_path, lost={"UnmaskInvite": ("b",)}, **settings)
    same(masked.shared, plain.shared, 1e-6)


def test_the_rest_of_a_round_that_too_few_answered_stays_masked(tmp_path):
    with pytest.raises(FedNNUNetError, match="connection is gone"):
        trained(tmp_path, lost={"MaskedTrainInvite": ("c",)})
    federation = a_federation(secure=SecureAggregation())
    engine = MaskedEngine(tmp_path / "sites", federation)
    masked = go(a_masked_run(tmp_path / "masked", federation), engine)  # the same command
    _, plain, _ = trained(tmp_path / "other")
    same(masked.shared, plain.shared, 1e-6)


def test_a_site_that_does_not_know_the_others_refuses(tmp_path):
    federation = a_federation(secure=SecureAggregation())
    run = a_masked_run(tmp_path / "run", federation)
    engine = MaskedEngine(tmp_path / "sites", a_federation())
    with pytest.raises(FedNNUNetError, match="the site refuses to answer"):
        go(run, engine)


def test_a_vector_tells_nothing_without_the_others(tmp_path):
    _, _, engine = trained(tmp_path, rounds=1)
    size = sum(tensor.numel() for tensor in INITIAL.values())
    sent = [r for name, r in engine.seen if isinstance(r, MaskedTrainReply) and name == "a"]
    words = masked_words(sent[0], size, 64, site="a")
    assert len(set(words.tolist())) == size  # the changes themselves are all equal
    assert sent[0].loss is None and not sent[0].overlap
