"""Choosing where to compute, tested as values: none of these machines need be at hand."""

from __future__ import annotations

import pytest
import torch

from fednnunet.device import Device, Machine, choose_device, cpu_has_bfloat16
from fednnunet.errors import InputError

TWO_GPUS = Machine(cuda_devices=2, cuda_bfloat16=True, cpu_bfloat16=True)


@pytest.mark.parametrize(
    ("name", "machine", "gradients", "expected"),
    [
        ("auto", Machine(), True, ("cpu", "float32")),
        ("auto", Machine(), False, ("cpu", "float32")),
        ("cpu", Machine(cpu_bfloat16=True), True, ("cpu", "bfloat16")),
        ("cpu", Machine(cpu_bfloat16=True), False, ("cpu", "float32")),
        ("auto", TWO_GPUS, True, ("cuda", "bfloat16")),
        ("cuda:1", TWO_GPUS, True, ("cuda:1", "bfloat16")),
        ("cuda", Machine(cuda_devices=1), True, ("cuda", "float16")),
        ("cuda", TWO_GPUS, False, ("cuda", "float16")),
        ("mps", Machine(mps=True), False, ("mps", "float32")),
        ("meta", TWO_GPUS, True, ("meta", "float32")),
    ],
)
def test_the_choice(name, machine, gradients, expected):
    chosen = choose_device(name, machine, gradients=gradients)
    assert (chosen.name, chosen.precision) == expected
    assert chosen.precision in chosen.reason


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "tpu", "cuda:x", ""])
@pytest.mark.parametrize("gradients", [True, False])
def test_what_is_not_there_is_refused(name, gradients):
    with pytest.raises(InputError, match=repr(name)):
        choose_device(name, Machine(), gradients=gradients)


def test_the_error_names_the_devices_that_there_are():
    with pytest.raises(InputError) as caught:
        choose_device("cuda:2", TWO_GPUS, gradients=True)
    assert "auto, cpu, cuda, cuda:0, cuda:1" in str(caught.value)


def test_training_does_not_take_a_device_that_only_predicts():
    with pytest.raises(InputError, match="not supported"):
        choose_device("mps", Machine(mps=True), gradients=True)


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu avx2 fma", False), ("avx512f avx512_bf16", True), ("amx_tile amx_bf16", True)],
)
def test_bfloat16_is_read_from_the_cpus_flags(tmp_path, flags, has):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    assert cpu_has_bfloat16(info) is has
    assert cpu_has_bfloat16(tmp_path / "none") is False


def test_memory_format_follows_the_axes():
    assert Device().memory_format(3) == torch.channels_last_3d
    assert Device().memory_format(2) == torch.channels_last
    assert Device(channels_last=False).memory_format(3) == torch.contiguous_format


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_autocast_runs_layers_in_the_precision(precision):
    device = Device(precision=precision)
    with device.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == device.dtype
