"""Notes on a training leave as codes and numbers."""

from __future__ import annotations

from fednnunet.device import Device
from fednnunet.federation.site.notes import training_notes
from fednnunet.training.counts import DiceCounts
from fednnunet.training.device import Execution
from fednnunet.training.summary import TrainSummary
from tests.training.fakes import small_plan


def a_summary(micro_batch: int) -> TrainSummary:
    return TrainSummary(
        iterations=1,
        loss=0.5,
        learning_rate=0.1,
        seconds=1.0,
        wait_seconds=0.0,
        memory_gib=1.0,
        micro_batch=micro_batch,
        dice=DiceCounts.empty(("a",)),
        notes=("words with a /path",),
    )


def notes(execution: Execution, micro_batch: int, *, first: bool = True, **changes: object):
    plan, configuration = small_plan(**changes)
    found = training_notes(a_summary(micro_batch), execution, plan, configuration, first=first)
    return {note.code: note.numbers for note in found}


def test_the_first_round_tells_of_the_device():
    cpu = Execution(device=Device(name="cpu"), micro_batch=2)
    assert notes(cpu, 2) == {"cpu_float32": (), "micro_batch": (2,)}
    assert notes(cpu, 2, first=False) == {}
    odd = Execution(device=Device(name="meta"), compile=True, micro_batch=2)
    assert set(notes(odd, 2)) == {"other_device", "compiled", "micro_batch"}


def test_every_round_tells_of_a_lack_of_memory():
    gpu = Execution(device=Device(name="cuda", precision="bfloat16"), workers=4)
    batch = small_plan()[1].batch
    assert notes(gpu, 1, first=False) == {"out_of_memory": (batch, 1)}


def test_gpus_that_share_a_batch_otherwise_than_one_say_so():
    gpus = Execution(device=Device(name="cuda", precision="float16"), devices=2)
    batch = small_plan()[1].batch
    assert notes(gpus, batch, batch_dice=True) == {
        "cuda_float16": (),
        "gpus": (2,),
        "share_of_batch": (2,),
    }
    assert "share_of_batch" not in notes(gpus, batch)
