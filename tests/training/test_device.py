from __future__ import annotations

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.training.device import (
    Machine,
    choose_execution,
    compile_verdict,
    cpu_has_bfloat16,
)


def test_a_plain_cpu_computes_in_float32():
    got = choose_execution("auto", machine=Machine(cores=2))
    assert (got.device, got.precision, got.scaler, got.pin) == ("cpu", "float32", False, False)
    assert (got.workers, got.devices, got.channels_last) == (0, 1, True)
    assert "AVX512-BF16" in " ".join(got.reasons)


def test_a_cpu_with_bfloat16_uses_it():
    got = choose_execution("cpu", machine=Machine(cpu_bfloat16=True))
    assert (got.precision, got.scaler) == ("bfloat16", False)


def test_a_gpu_with_bfloat16_needs_no_scaler():
    got = choose_execution(machine=Machine(cuda_devices=1, cuda_bfloat16=True, cores=16))
    assert (got.device, got.precision, got.scaler) == ("cuda", "bfloat16", False)
    assert (got.pin, got.workers, got.backend) == (True, 8, "nccl")


def test_an_older_gpu_scales_the_loss():
    got = choose_execution("cuda:0", machine=Machine(cuda_devices=2, cores=4))
    assert (got.precision, got.scaler, got.devices) == ("float16", True, 1)


def test_all_gpus_share_a_batch_unless_one_is_named():
    machine = Machine(cuda_devices=2, cuda_bfloat16=True)
    assert choose_execution("cuda", machine=machine).devices == 2
    assert choose_execution("cuda:1", machine=machine).devices == 1


def test_what_is_not_there_is_refused():
    with pytest.raises(InputError, match="no GPU"):
        choose_execution("cuda", machine=Machine())
    with pytest.raises(InputError, match="not supported"):
        choose_execution("tpu", machine=Machine())


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
    got = choose_execution("cpu", machine=Machine())
    assert got.memory_format(3) == torch.channels_last_3d
    assert got.memory_format(2) == torch.channels_last


def test_compile_says_when_it_does_not_pay():
    assert "would not pay" in compile_verdict(20, 1.0)
    assert "pays back" in compile_verdict(100_000, 1.0)
