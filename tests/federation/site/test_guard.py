"""A site trains alone beside the first joint rounds, and goes on with what is better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fednnunet.federation.guard_spec import Guard
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site.guard import is_guarded, read_decision
from fednnunet.federation.site.models import has_left
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import EvaluateInvite
from tests.federation.site_fakes import INVITE, SmallSite, a_trainer

ROUNDS, TRIAL = 6, 4


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """A site whose trial takes four of six rounds, of which the last two count."""
    training = Training(
        method="fedbn_head",
        rounds=ROUNDS,
        iterations_per_round=1,
        device="cpu",
        guard=Guard(share=0.6),
    )
    return a_trainer(tmp_path, "north", training=training)


def rounds(site: SmallSite, count: int, *, spoil: bool, method: str = "fedbn_head") -> list:
    """The replies of the first rounds; with `spoil` what the site receives is useless."""
    shared = METHODS[method].shared(site.new_state().network.state_dict())
    replies = []
    for number in range(count):
        tensors = {name: t.detach().clone() for name, t in shared.items()}
        if spoil and number:
            tensors = {
                n: torch.full_like(t, 0.3) if t.is_floating_point() else t
                for n, t in tensors.items()
            }
        invite = replace(
            INVITE, tensors=tensors, method=method, round=number, resume_round=number, iterations=1,
            schedule_start=number, schedule_length=ROUNDS,
        )  # fmt: skip
        replies.append(site.train(invite))
        if not spoil:
            shared = replies[-1].tensors
    return replies


def test_a_site_that_others_spoil_goes_on_exactly_as_if_it_had_trained_alone(site, tmp_path):
    replies = rounds(site, ROUNDS, spoil=True)
    assert [reply.alone for reply in replies] == [False] * TRIAL + [True] * 2
    decision = read_decision(site.base)
    assert decision is not None and decision.left and decision.round == TRIAL
    assert decision.alone_loss < decision.joint_loss
    assert "trains alone since round 5" in decision.words
    alone = a_trainer(tmp_path / "alone", "north", training=site.training)
    rounds(alone, ROUNDS, spoil=False, method="local")
    ours, theirs = site.state_after(ROUNDS), alone.state_after(ROUNDS)
    assert has_left(ours.memory)
    for name, tensor in theirs.network.state_dict().items():
        assert torch.equal(ours.network.state_dict()[name], tensor), name


def test_a_site_that_left_returns_what_it_received_and_says_so(site):
    reply = rounds(site, TRIAL + 1, spoil=True)[-1]
    assert all((t == 0.3).all() for t in reply.tensors.values() if t.is_floating_point())
    assert "trains_alone" in [note.code for note in reply.notes]


def test_the_model_of_a_site_that_left_has_nothing_of_what_is_shared(site):
    replies = rounds(site, ROUNDS, spoil=True)
    invite = EvaluateInvite(
        tensors=replies[-1].tensors, run="", method="fedbn_head", round=ROUNDS, personal=True
    )
    bundle = site.bundle(invite)
    own = site.state_after(ROUNDS).network.state_dict()
    assert all(torch.equal(bundle.weights[name], tensor) for name, tensor in own.items())


def test_a_site_that_loses_nothing_stays(site):
    """What it receives is what it sent, so that both of its trainings are the same."""
    replies = rounds(site, ROUNDS, spoil=False)
    assert not any(reply.alone for reply in replies)
    decision = read_decision(site.base)
    assert decision is not None and not decision.left
    assert decision.joint_loss == pytest.approx(decision.alone_loss)
    assert "trains with the others" in decision.words
    assert not has_left(site.state_after(ROUNDS).memory)


def test_a_round_that_is_asked_for_again_gives_the_same_reply(site):
    first = rounds(site, TRIAL + 1, spoil=True)
    again = rounds(site, TRIAL + 1, spoil=True)
    for one, other in zip(first, again, strict=True):
        assert one.alone == other.alone
        assert all(torch.equal(one.tensors[n], other.tensors[n]) for n in one.tensors)


def test_no_trial_begins_in_the_middle_of_a_training(site):
    rounds(site, 1, spoil=False)
    for folder in (site.base / "alone").iterdir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    (site.base / "alone").rmdir()
    reply = site.train(replace(INVITE, tensors=_shared(site), round=1, resume_round=1))
    assert not reply.alone and not (site.base / "alone").exists()


def test_training_alone_is_left_out_where_sites_have_no_single_model_of_their_own(site):
    network = site.network
    guarded = {name for name, method in METHODS.items() if is_guarded(method, network)}
    assert {"fedease", "fedbn", "fedbn_head", "head", "decoder"} <= guarded
    assert not guarded & {"local", "pooled", "fedavg", "apfl", "ditto", "scaffold_bn_head"}


def _shared(site: SmallSite) -> dict:
    return dict(METHODS["fedbn_head"].shared(site.new_state().network.state_dict()))
