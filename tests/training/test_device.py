from __future__ import annotations

import pytest

from fednnunet.device import Device, Machine
from fednnunet.errors import InputError
from fednnunet.training.device import choose_execution, compile_verdict, for_batch


def test_a_cpu_makes_batches_itself_and_scales_no_loss():
    got = choose_execution("auto", machine=Machine(cores=2))
    assert (got.device.name, got.scaler, got.pin, got.workers, got.devices) == (
        ("cpu", False, False, 0, 1)
    )
    assert "AVX512-BF16" in " ".join(got.reasons)


def test_a_gpu_with_bfloat16_needs_no_scaler():
    got = choose_execution(machine=Machine(cuda_devices=1, cuda_bfloat16=True, cores=16))
    assert (got.device.precision, got.scaler) == ("bfloat16", False)
    assert not (got.graphs or got.fused_norm or got.device.channels_last)
    assert (got.pin, got.workers, got.backend) == (True, 15, "nccl")


def test_an_older_gpu_scales_the_loss():
    got = choose_execution("cuda:0", machine=Machine(cuda_devices=2, cores=4))
    assert (got.device.precision, got.scaler, got.devices) == ("float16", True, 1)


def test_all_gpus_share_a_batch_unless_one_is_named():
    machine = Machine(cuda_devices=2, cuda_bfloat16=True)
    assert choose_execution("cuda", machine=machine).devices == 2
    assert choose_execution("cuda:1", machine=machine).devices == 1


def test_no_more_gpus_are_taken_than_a_batch_has_samples():
    machine = Machine(cuda_devices=4, cuda_bfloat16=True, cores=16)
    whole = choose_execution("auto", machine=machine)
    capped = for_batch(whole, 2)
    assert whole.devices == 4 and capped.devices == 2
    assert capped.reasons == (*whole.reasons, "2 of 4 GPUs: the plan's batch has 2 samples")
    assert for_batch(whole, 1).reasons[-1] == "1 of 4 GPUs: the plan's batch has 1 sample"
    assert for_batch(whole, 4) == whole and for_batch(whole, 9) == whole


def test_what_is_not_there_is_refused():
    with pytest.raises(InputError, match="no such device"):
        choose_execution("cuda", machine=Machine())


def test_compile_says_when_it_does_not_pay():
    cpu, gpu = Device(), Device(name="cuda")
    assert "would not pay back" in compile_verdict(cpu, iterations=10**6, first=30.0, later=1.0)
    assert "would not pay back" in compile_verdict(gpu, iterations=20, first=61.0, later=1.0)
    assert "pays back: compiling took 60 s" in compile_verdict(
        gpu, iterations=1000, first=61.0, later=1.0
    )
