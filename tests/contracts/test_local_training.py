"""Every method over real local training on a tiny network: what must hold at the sites."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.methods.scaffold import Scaffold
from fednnunet.federation.site.prepared import site_seed
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import EvaluateInvite, pack
from fednnunet.federation.wire.tensors import check_like
from fednnunet.training.device import choose_execution
from fednnunet.training.initial import initial_tensors
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.recipe import recipe_named
from fednnunet.training.state import new_state
from fednnunet.training.trainer import train
from tests.contracts.helpers import an_invite, first_tensors, memory_of, rounds_alone
from tests.federation.site_fakes import CONFIGURATION, ITERATIONS, ROUNDS, SmallSite, a_trainer
from tests.training.fakes import a_job, small_plan
from tests.training.steps import META, batch, state, stepper


def is_plain_alone(method: str) -> bool:
    """Whether a site that is alone trains as if there were no federation."""
    return METHODS[method].local_rule in (LocalRule(), Scaffold().build().local_rule)


def with_a_step_of_their_own() -> list[str]:
    """The methods, without those whose part in a site's step another one before them has, too."""
    first, names, parts = first_tensors(), [], []
    for name, method in METHODS.items():
        part = (method.local_rule, method.shared(first).keys(), method.extras_like(first).keys())
        if part not in parts:
            names.append(name)
            parts.append(part)
    return names


def plain_training(trainer: SmallSite, seed: int):
    execution, recipe = choose_execution("cpu"), recipe_named("fast")
    weights = initial_tensors(trainer.plan, CONFIGURATION, seed=0)
    state = new_state(
        trainer.plan, trainer.configuration, recipe, execution, seed=seed, weights=weights
    )
    job = a_job(
        store=trainer.store,
        plan=trainer.plan,
        configuration=trainer.configuration,
        iterations=ROUNDS * ITERATIONS,
        schedule_length=ROUNDS * ITERATIONS,
    )
    train(state, job, execution)
    return state.network.state_dict()


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """The weights of plain training, which no method has a part in."""
    trainer = a_trainer(tmp_path_factory.mktemp("plain"), "one")
    return plain_training(trainer, site_seed(0, "one"))


@pytest.mark.parametrize("method", sorted(m for m in METHODS if is_plain_alone(m)))
def test_one_site_alone_equals_plain_training(plain, alone, method):
    federated = {**alone(method).model, **split(alone(method).replies[-1].tensors)[0]}
    assert all(torch.equal(federated[name], plain[name]) for name in plain)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_private_tensors_are_in_no_reply(alone, method):
    own = METHODS[method].private(alone(method).model)
    private = {name: tensor for name, tensor in own.items() if tensor.numel() > 1}
    for reply in alone(method).replies:
        data = pack(reply)
        assert not any(name.encode() in data for name in own)
        assert not any(tensor.numpy().tobytes() in data for tensor in private.values())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_reply_is_what_the_method_says_it_is(alone, method):
    first = first_tensors()
    like = join(METHODS[method].shared(first), METHODS[method].extras_like(first))
    for reply in alone(method).replies:
        check_like(reply.tensors, like, site="one")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_what_a_site_remembers_is_in_no_reply(alone, method):
    """But for the means that an aside sends as they are, and tensors small enough to be equal.

    SCAFFOLD's first change from zero is its control variate itself, so the last reply is looked at.
    """
    sent = METHODS[method].extras_like(first_tensors())
    data = pack(alone(method).replies[-1])
    assert b"memory" not in data
    for name, tensor in alone(method).memory.items():
        if name.removeprefix("memory.") not in sent and tensor.numel() >= 32 and tensor.any():
            assert tensor.numpy().tobytes() not in data, name


@pytest.mark.parametrize(
    "method", sorted(m for m, v in METHODS.items() if v.local_rule != LocalRule())
)
def test_a_round_begun_anew_gives_the_same_reply_and_memory(tmp_path, alone, method):
    shutil.copytree(alone(method).folder, tmp_path, dirs_exist_ok=True)
    trainer, memory = a_trainer(tmp_path, "one"), alone(method).memory
    again, _ = rounds_alone(trainer, method)
    for one, other in zip(alone(method).replies, again, strict=True):
        assert pack(replace(one, seconds=0, wait_share=0)) == pack(
            replace(other, seconds=0, wait_share=0)
        )
    anew = memory_of(trainer, ROUNDS)
    assert anew.keys() == memory.keys()
    assert all(torch.equal(tensor, anew[name]) for name, tensor in memory.items())


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
        assert same == METHODS[method].is_shared(name), name


@pytest.mark.parametrize("method", with_a_step_of_their_own())
def test_a_step_makes_no_tensor_on_another_device_than_the_network(method):
    """On the meta device, which refuses what is made on the CPU in the middle of a step."""
    here = state(META, "fast")
    start = {name: tensor.detach() for name, tensor in here.network.state_dict().items()}
    context = RoundContext(
        start=start,
        shared=frozenset(METHODS[method].shared(start)),
        extras=METHODS[method].extras_like(start),
    )
    step = stepper(
        META, local_rule=METHODS[method].local_rule, context=context.on(META.torch_device)
    )
    for _ in range(2):
        loss, _ = step(here, batch())
        assert loss.device.type == "meta"


def test_a_round_asked_twice_gives_the_same_reply(tmp_path):
    trainer = a_trainer(tmp_path, "one")
    shared = METHODS["fedbn_head"].shared(initial_tensors(trainer.plan, CONFIGURATION, seed=0))
    trainer.train(an_invite("fedbn_head", shared, 0))
    once = trainer.train(an_invite("fedbn_head", shared, 1))
    again = a_trainer(tmp_path, "one").train(an_invite("fedbn_head", shared, 1))
    assert all(torch.equal(t, again.tensors[n]) for n, t in once.tensors.items())


def test_the_public_phase_changes_the_public_copy_only(tmp_path):
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
    reply = trainer.train(an_invite("fedbn_head", whole, ROUNDS, phase="public", resume_round=0))
    assert reply.tensors.keys() == method.private(first).keys()
    assert any(not torch.equal(t, first[n]) for n, t in reply.tensors.items())
    after = trainer.bundle(invite).weights
    assert all(torch.equal(t, after[n]) for n, t in personal.items())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_personal_phase_trains_every_tensor_and_sends_none(tmp_path, alone, method):
    shutil.copytree(alone(method).folder, tmp_path, dirs_exist_ok=True)
    trainer, before = a_trainer(tmp_path, "one"), alone(method).model
    shared = {n: t + 0.01 for n, t in split(alone(method).replies[-1].tensors)[0].items()}
    for number in range(2):
        context = {} if number else shared
        invite = an_invite(method, context, ROUNDS + number, phase="personal")
        assert trainer.train(invite).tensors == {}
    number = 2 * ROUNDS
    invite = EvaluateInvite(tensors={}, run="", method=method, round=number, personal=True)
    after = trainer.bundle(invite).weights
    trained = [name for name, tensor in before.items() if tensor.is_floating_point()]
    assert all(not torch.equal(after[name], before[name]) for name in trained)


@pytest.mark.parametrize("phase", ["joint", "personal", "public"])
def test_a_round_of_any_phase_asked_twice_gives_the_same_state(tmp_path, phase):
    first = initial_tensors(small_plan()[0], CONFIGURATION, seed=0)
    begun = 0 if phase == "public" else 1
    models = []
    for again in (False, True):
        trainer = a_trainer(tmp_path / str(again), "one")
        trainer.train(an_invite("fedbn", METHODS["fedbn"].shared(first), 0))
        for _ in range(1 + again):
            trainer.train(an_invite("fedbn", first, 1, phase=phase, resume_round=begun))
        folder = f"{'public' if phase == 'public' else 'round'}_0002"
        state = trainer.base / "state" / folder / "state.safetensors"
        models.append(state.read_bytes())
    assert models[0] == models[1]


def test_a_lost_state_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no state of round_0003") as caught:
        a_trainer(tmp_path, "one").train(an_invite("fedavg", {}, 4, resume_round=3))
    assert "restore the site's folder" in str(caught.value)
