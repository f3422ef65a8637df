from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.device import Device
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.methods.fedgkd import Distillation
from fednnunet.federation.methods.fedproto import NearPrototypes
from fednnunet.federation.methods.fedsam import SAMGradient
from fednnunet.federation.methods.scaffold import Controlled
from fednnunet.training.device import Execution
from fednnunet.training.local_rule import LocalRule, RoundContext, TrainingPhase
from fednnunet.training.parallel import rank_execution, unlike_one_device
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.trainer import train
from tests.training.fakes import CPU, a_job, blobs, names_of, small_plan, small_task


def is_encoder(name):
    return name.startswith("encoder")


def is_decoder(name):
    return not is_encoder(name)


EVERYTHING = LocalRule(
    phases=(
        TrainingPhase(is_trained=is_encoder, fraction=0.6),
        TrainingPhase(is_trained=is_decoder, fraction=0.4),
    ),
    gradient_rules=(SAMGradient(rho=0.1),),
    corrections=(Controlled(),),
    terms=(Distillation(), NearPrototypes()),
    features=True,
)
PROTOTYPES = {"prototypes/mean": torch.ones(3, 4), "prototypes/seen": torch.ones(3)}


def pull(seen):
    return 1e-3 * sum(p.square().sum() for p in seen.network.parameters())


def run(execution, local=EVERYTHING, store=None):
    plan, configuration = small_plan(batch=3, features=(4, 6, 8))
    store, recipe = store or blobs(), RECIPES["nnunet"]
    state = new_state(plan, configuration, recipe, CPU, seed=1)
    weights = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    job = a_job(
        store=store,
        plan=plan,
        configuration=configuration,
        recipe=recipe,
        iterations=3,
        local_rule=local + LocalRule(terms=(pull,)),
        context=RoundContext(start=weights, shared=frozenset(weights), extras=PROTOTYPES),
        frozen=names_of(state, lambda name: name.startswith("heads")),
    )
    return state, train(state, job, execution)


def test_two_processes_train_like_one():
    one, alone = run(CPU)
    two, shared = run(replace(CPU, devices=2, backend="gloo"))
    assert two.step == one.step == 3
    assert shared.loss == pytest.approx(alone.loss, rel=1e-4)
    assert shared.dice.tp == pytest.approx(alone.dice.tp, abs=5)
    assert one.memory.keys() == two.memory.keys()
    for name, tensor in one.memory.items():
        torch.testing.assert_close(tensor, two.memory[name], rtol=1e-3, atol=1e-5)
    for p, q in zip(one.network.parameters(), two.network.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)


class Damaged:
    names = ("a",)

    def case(self, name):
        raise InputError("data.b2nd is damaged", where="case a", mend="prepare it anew")


class Mistaken:
    names = ("a",)

    def case(self, name):
        raise ValueError("this cannot be\nhint: look there\nand here")


def test_a_fault_in_a_process_is_told_in_full():
    with pytest.raises(FedNNUNetError) as caught:
        run(replace(CPU, devices=2, backend="gloo"), store=Damaged())
    fault = caught.value
    told = ("data.b2nd is damaged", "case a", "prepare it anew")
    assert (fault.what, fault.where, fault.mend) == told


def test_a_mistake_in_a_process_is_told_with_its_cause():
    with pytest.raises(FedNNUNetError, match=r"ValueError: this cannot be\nhint.*\nand here"):
        run(replace(CPU, devices=2, backend="gloo"), store=Mistaken())


def test_what_devices_compute_otherwise_than_one_is_noted():
    def note(**changes):
        plan, configuration = small_plan(**changes)
        return " ".join(unlike_one_device(a_job(plan=plan, configuration=configuration)))

    assert note() == ""
    assert "takes Dice over" in note(batch_dice=True)
    assert "annotated voxels, normalisation over" in note(norm="batch", task=small_task(ignore=3))


def test_each_process_has_its_own_gpu_and_workers():
    whole = Execution(device=Device(name="cuda"), devices=4, workers=8, backend="nccl")
    part = rank_execution(whole, 2)
    assert (part.device.name, part.devices, part.workers) == ("cuda:2", 1, 2)


def test_more_devices_than_samples_is_refused():
    with pytest.raises(InputError, match="cannot share"):
        run(replace(CPU, devices=4))
