"""Records of made-up rounds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from fednnunet.federation.coordinator.history import RoundRecord, SiteRound
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "ball", "core"))


def a_record(number=1, **changes):
    row = SiteRound(
        cases=4, loss=0.5, dice=(0.25, None), seconds=3.0, wait_share=0.02, bytes_to_site=1,
        bytes_from_site=1, held_out=(0.75, 0.25), notes=("float32: no bfloat16 here",),
    )  # fmt: skip
    whole = RoundRecord(
        key="k", round=number, phase="joint", shift=0.1, sites={"north": row}, refused={},
        seconds=30.0, of=4,
    )  # fmt: skip
    return replace(whole, **changes)


def a_run():
    return SimpleNamespace(name="", method_name="fedavg", plan=SimpleNamespace(task=TASK))
