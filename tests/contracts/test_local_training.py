"""Every method over real local training on a tiny network: what must hold at the sites."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fednnunet.federation.messages import EvaluateInvite, TrainInvite, pack
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site_training import SiteTrainer
from fednnunet.federation.spec import Training
from fednnunet.training.device import choose_execution
from fednnunet.training.initial import initial_tensors
from fednnunet.training.loop import train
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import new_state
from tests.training.fakes import blobs, small_plan

CONFIGURATION = "3d_fullres"
ROUNDS, ITERATIONS = 2, 2


def a_trainer(folder: Path, name: str) -> SiteTrainer:
    store = blobs(seed=len(name))
    return SiteTrainer(
        name=name,
        base=folder / name,
        plan=small_plan()[0],
        configuration_name=CONFIGURATION,
        store=store,
        cases=store.names,
        annotated=(0, 1, 2),
        training=Training(rounds=ROUNDS, iterations_per_round=ITERATIONS, device="cpu"),
    )


def an_invite(method: str, tensors, number: int, *, closing: bool = False) -> TrainInvite:
    return TrainInvite(
        tensors=tensors,
        run="",
        method=method,
        round=number,
        iterations=ITERATIONS,
        total=ROUNDS * ITERATIONS,
        closing=closing,
    )


def rounds_alone(trainer: SiteTrainer, method: str):
    """All rounds of one site whose replies come back unchanged, and its model."""
    first = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
    shared = METHODS[method].shared(first)
    replies = []
    for number in range(ROUNDS):
        replies.append(trainer.train(an_invite(method, shared, number)))
        shared = replies[-1].tensors
    invite = EvaluateInvite(tensors=shared, run="", method=method, round=ROUNDS, personal=True)
    return replies, trainer.bundle(invite).weights


def plain_training(trainer: SiteTrainer, seed: int):
    execution, recipe = choose_execution("cpu"), recipe_named("fast")
    weights = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
    state = new_state(
        trainer.plan, trainer.configuration, recipe, execution, seed=seed, weights=weights
    )
    train(
        state,
        trainer.store,
        trainer.cases,
        plan=trainer.plan,
        configuration=trainer.configuration,
        recipe=recipe,
        execution=execution,
        iterations=ROUNDS * ITERATIONS,
        total_iterations=ROUNDS * ITERATIONS,
    )
    return state.network.state_dict()


@pytest.mark.parametrize("method", sorted(m for m, v in METHODS.items() if v.local_term is None))
def test_one_site_alone_equals_plain_training(tmp_path, method):
    from fednnunet.federation.site_training import _seed

    trainer = a_trainer(tmp_path, "one")
    _, federated = rounds_alone(trainer, method)
    plain = plain_training(trainer, _seed(0, "one"))
    assert all(torch.equal(federated[name], plain[name]) for name in plain)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_private_tensors_are_in_no_reply(tmp_path, method):
    trainer = a_trainer(tmp_path, "one")
    replies, model = rounds_alone(trainer, method)
    private = {n: t for n, t in METHODS[method].private(model).items() if t.numel() > 1}
    for reply in replies:
        data = pack(reply)
        assert not any(name.encode() in data for name in METHODS[method].private(model))
        assert not any(tensor.numpy().tobytes() in data for tensor in private.values())


@pytest.mark.parametrize("method", ["fedbn", "head", "fedbn_head", "decoder"])
def test_private_tensors_differ_between_sites_and_shared_ones_do_not(tmp_path, method):
    shared = METHODS[method].shared(initial_tensors(small_plan()[0], CONFIGURATION, seed=0))
    models = []
    for name in ("one", "other"):
        trainer = a_trainer(tmp_path, name)
        for number in range(ROUNDS):
            trainer.train(an_invite(method, shared, number))
        invite = EvaluateInvite(tensors=shared, run="", method=method, round=ROUNDS, personal=True)
        models.append(trainer.bundle(invite).weights)
    first, second = models
    for name, tensor in first.items():
        same = torch.equal(tensor, second[name])
        assert same == METHODS[method].leaves(name), name


def test_a_round_asked_twice_gives_the_same_reply(tmp_path):
    trainer = a_trainer(tmp_path, "one")
    shared = METHODS["fedbn_head"].shared(initial_tensors(trainer.plan, CONFIGURATION, seed=0))
    trainer.train(an_invite("fedbn_head", shared, 0))
    once = trainer.train(an_invite("fedbn_head", shared, 1))
    again = a_trainer(tmp_path, "one").train(an_invite("fedbn_head", shared, 1))
    assert all(torch.equal(t, again.tensors[n]) for n, t in once.tensors.items())


def test_closing_changes_the_public_copy_only(tmp_path):
    trainer = a_trainer(tmp_path, "one")
    first = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
    method = METHODS["fedbn_head"]
    shared = method.shared(first)
    for number in range(ROUNDS):
        shared = trainer.train(an_invite("fedbn_head", shared, number)).tensors
    invite = EvaluateInvite(
        tensors=shared, run="", method="fedbn_head", round=ROUNDS, personal=True
    )
    personal = trainer.bundle(invite).weights
    whole = {**method.private(first), **shared}
    reply = trainer.train(an_invite("fedbn_head", whole, ROUNDS, closing=True))
    assert reply.tensors.keys() == method.private(first).keys()
    assert any(not torch.equal(t, first[n]) for n, t in reply.tensors.items())
    after = trainer.bundle(invite).weights
    assert all(torch.equal(t, after[n]) for n, t in personal.items())
