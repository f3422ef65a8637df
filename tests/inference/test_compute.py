"""Choosing a device."""

from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.inference.compute import choose_compute


def test_the_cpu_runs_in_float32() -> None:
    compute = choose_compute("cpu")
    assert compute.device.type == "cpu"
    with compute.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=name):
        choose_compute(name)
