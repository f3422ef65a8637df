"""A site's part in a round with filters: memory is saved with the state, bytes can be repeated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.filters.chain import context_of, filter_at_coordinator
from fednnunet.federation.spec import Training
from fednnunet.federation.wire.messages import TrainInvite, pack
from fednnunet.training.initial import initial_tensors
from tests.federation.site_fakes import CONFIGURATION, ITERATIONS, ROUNDS, a_trainer
from tests.training.fakes import blobs

FILTERED = Training(
    rounds=ROUNDS,
    iterations_per_round=ITERATIONS,
    device="cpu",
    filters=("delta_bfloat16",),
)
RESIDUALS = "filters/0/"


def first_tensors(trainer):
    return initial_tensors(trainer.plan, CONFIGURATION, seed=0)


def an_invite(tensors, number: int) -> TrainInvite:
    return TrainInvite(
        tensors=tensors,
        run="",
        method="fedavg",
        round=number,
        phase="joint",
        resume_round=number,
        iterations=ITERATIONS,
        schedule_start=number * ITERATIONS,
        schedule_length=ROUNDS * ITERATIONS,
    )


def sent(reply) -> bytes:
    return pack(replace(reply, seconds=0, wait_share=0))


def test_filters_change_what_is_sent_and_not_what_is_trained(tmp_path):
    plain = a_trainer(tmp_path / "a", "one")
    filtered = a_trainer(tmp_path / "b", "one", training=FILTERED)
    invite = an_invite(first_tensors(plain), 0)
    raw, reply = plain.train(invite), filtered.train(invite)
    assert len(pack(reply)) < 0.6 * len(pack(raw))
    back = filter_at_coordinator(FILTERED.filter_chain, reply.tensors, context_of(invite, "one"))
    assert back.keys() == raw.tensors.keys()
    for name, tensor in raw.tensors.items():
        torch.testing.assert_close(back[name], tensor, rtol=1e-3, atol=1e-3)
    one, other = plain.state_after(1), filtered.state_after(1)
    trained, again = one.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in trained.items())


def test_a_filters_memory_rests_in_the_state_and_never_leaves(tmp_path):
    trainer = a_trainer(tmp_path, "one", training=FILTERED)
    reply = trainer.train(an_invite(first_tensors(trainer), 0))
    memory = trainer.state_after(1).memory
    assert {name for name in memory if name.startswith(RESIDUALS)} == {
        RESIDUALS + name for name, t in reply.tensors.items() if t.dtype == torch.bfloat16
    }
    assert any(tensor.any() for tensor in memory.values())
    data = pack(reply)
    assert not any(t.numpy().tobytes() in data for t in memory.values() if t.numel() >= 32)


def test_a_round_asked_twice_with_filters_gives_the_same_bytes(tmp_path):
    """The second round sends what the first one's rounding lost; repeated, it does so once."""
    trainer = a_trainer(tmp_path, "one", training=FILTERED)
    tensors = first_tensors(trainer)
    trainer.train(an_invite(tensors, 0))
    once = sent(trainer.train(an_invite(tensors, 1)))
    again = sent(a_trainer(tmp_path, "one", training=FILTERED).train(an_invite(tensors, 1)))
    assert once == again
    other = replace(FILTERED, filters=({"name": "delta_bfloat16", "error_feedback": False},))
    forgetful = a_trainer(tmp_path, "one", training=other)
    assert sent(forgetful.train(an_invite(tensors, 1))) != once


def test_tensors_of_another_network_are_refused(tmp_path):
    with pytest.raises(InputError, match="do not belong to the plan's network"):
        a_trainer(tmp_path, "one").train(an_invite({"other": torch.ones(1)}, 0))


@pytest.mark.parametrize(("cases", "told"), [(4, False), (5, True)])
def test_overlap_on_patches_of_few_cases_stays_at_the_site(tmp_path, cases, told):
    """Enough iterations for a patch of every case."""
    store = blobs(cases)
    training = Training(rounds=ROUNDS, iterations_per_round=20, device="cpu")
    trainer = a_trainer(tmp_path, "one", store=store, cases=store.names, training=training)
    invite = replace(an_invite(first_tensors(trainer), 0), iterations=20)
    assert bool(trainer.train(invite).overlap) is told


def test_overlap_of_a_round_that_meets_few_of_many_cases_stays_too(tmp_path):
    store = blobs(6)
    trainer = a_trainer(tmp_path, "one", store=store, cases=store.names)
    reply = trainer.train(an_invite(first_tensors(trainer), 0))
    assert 2 * ITERATIONS < 5
    assert reply.overlap == ()
