"""How a network is evaluated."""

from __future__ import annotations

import pytest
import torch

from fednnunet.device import Device, Machine
from fednnunet.errors import InputError
from fednnunet.inference.compute import Compute, choose_compute


def test_a_gpu_takes_several_tiles_at_once() -> None:
    assert choose_compute("auto", machine=Machine(cuda_devices=1)).tiles > 1
    assert choose_compute("auto", machine=Machine()).tiles == 1


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=name):
        choose_compute(name)


@pytest.mark.parametrize("last", [True, False])
def test_a_network_is_placed_in_the_layout_of_its_device(last: bool) -> None:
    layer = torch.nn.Conv3d(2, 3, 3)
    placed = Compute(device=Device(channels_last=last)).place(layer, 3)
    weight = placed.get_parameter("weight")
    assert weight.is_contiguous(memory_format=torch.channels_last_3d) is last
    assert not placed.training
