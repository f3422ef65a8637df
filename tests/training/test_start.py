from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from fednnunet.errors import InputError
from fednnunet.planning.plan import Plan
from fednnunet.training.initial import initial_tensors
from fednnunet.training.start import same_labels, start_weights, weights_digest
from tests.interop.models import REGIONS, TASK, make_plan


def tensors(plan: Plan, seed: int) -> dict[str, Tensor]:
    return initial_tensors(plan, plan.configurations[0].name, seed=seed)


def test_all_tensors_of_the_same_task_are_taken() -> None:
    given, first = tensors(make_plan(), 1), tensors(make_plan(), 2)
    start = start_weights(given, first, same_labels=True)
    assert all(start.weights[name].equal(tensor) for name, tensor in given.items())
    assert (start.taken, start.remade) == (tuple(first), ())


def test_heads_of_other_labels_and_inputs_of_other_channels_are_made_anew() -> None:
    task = dataclasses.replace(TASK, channels=("T1", "T2"), labels=("background", "a", "b"))
    given, first = tensors(make_plan(), 1), tensors(make_plan(task=task), 2)
    start = start_weights(given, first, same_labels=same_labels(TASK, task))
    heads = {name for name in first if name.startswith("heads.")}
    assert set(start.remade) == heads | {"encoder.0.blocks.0.conv.weight"}
    for name, tensor in start.weights.items():
        assert tensor.equal((first if name in start.remade else given)[name])


@pytest.mark.parametrize(("old", "new"), [("plain_3d", "residual_3d"), ("residual_3d", "plain_3d")])
def test_another_encoder_is_refused(old: str, new: str) -> None:
    with pytest.raises(InputError, match="the encoder of the given weights is not") as caught:
        start_weights(tensors(make_plan(old), 1), tensors(make_plan(new), 2), same_labels=True)
    assert "--from-nnunet" in caught.value.mend


def test_labels_are_the_same_whatever_the_background_is_called() -> None:
    assert same_labels(TASK, dataclasses.replace(TASK, labels=("air", *TASK.labels[1:])))
    assert not same_labels(TASK, dataclasses.replace(TASK, labels=TASK.labels[:2]))
    assert not same_labels(TASK, REGIONS)
    turned = dict(reversed(REGIONS.regions.items()))
    assert not same_labels(REGIONS, dataclasses.replace(REGIONS, regions=turned))


def test_the_digest_is_of_names_shapes_and_values() -> None:
    one = {"a": torch.ones(2, 3), "b": torch.zeros(1)}
    assert weights_digest(one) == weights_digest(dict(reversed(one.items())))
    others = (
        {"a": torch.ones(3, 2), "b": torch.zeros(1)},
        {"a": torch.ones(2, 3), "b": torch.full((1,), 1e-30)},
        {"a": torch.ones(2, 3), "c": torch.zeros(1)},
        {"a": torch.ones(2, 3).double(), "b": torch.zeros(1)},
    )
    assert len({weights_digest(each) for each in (one, *others)}) == 5
