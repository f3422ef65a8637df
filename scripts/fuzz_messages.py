"""A message of every kind, for the fuzzer to change."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import torch

from fednnunet.evaluation.gains import Gain
from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.secure.protocol import PublicKeys
from fednnunet.federation.wire import messages
from fednnunet.federation.wire.figures import Figures
from fednnunet.federation.wire.notes import Note
from fednnunet.federation.wire.privacy import Spent
from fednnunet.federation.wire.round_log import LogExtract, SeenHead
from fednnunet.planning.plan import Plan
from fednnunet.task import Task

DIGEST = "0f" * 32


def packed_messages(task: Task, plan: Plan) -> tuple[bytes, ...]:
    """One packed message of every kind."""
    known = _values(task, plan)
    plain = {str: "fedavg", int: 1, float: 0.5, float | None: 0.5, bool: True}
    packed = []
    for kind in messages.KINDS.values():
        hints = typing.get_type_hints(kind)  # without the ranges
        names = [field.name for field in dataclasses.fields(kind)]
        fields = {n: known[n] if n in known else plain[hints[n]] for n in names}
        packed.append(messages.pack(kind(**fields)))
    return tuple(packed)


def _values(task: Task, plan: Plan) -> dict[str, Any]:
    """A value for each field that is no plain number or text, by its name."""
    figures = {"dice": 0.9, "iou": 0.8, "hd95_mm": 2.0, "assd_mm": 0.5}
    score = TargetScore(**figures, reference_vox=9, predicted_vox=8)
    case = CaseScores(case="a", targets=dict.fromkeys(task.targets, score))
    head = SeenHead(number=2, sha256=DIGEST)
    keys = PublicKeys(cipher=DIGEST, mask=DIGEST)
    return {
        "task": task,
        "plan": plan,
        "scores": SiteScores.of(task.targets, [case]),
        "gains": {"global": Gain.of((0.1, -0.2, 0.3), squared=3)},
        "rule": Postprocessing(foreground=True),
        "phase": "joint",
        "spacing_mm": (1.0, 1.0, 1.0),
        "configuration": "3d_fullres",
        "tensors": {"sums": torch.ones(3, dtype=torch.float64)},
        "notes": (Note(code="micro_batch", numbers=(2,)),),
        "kind": "data",
        "advice": "read_log",
        "log": LogExtract(lines=("{}",), heads={"a": head}),
        "head": head,
        "figures": Figures(annotated_cases=(5,), loss_spread=0.1, contour_noise=0.2),
        "spent": Spent(unit="site", epsilon=1.0, total=2.0, delta=1e-5, rounds=3),
        "topic": "training",
        "session": DIGEST[:32],
        "keys": keys,
        "roster": {"a": keys, "b": keys},
        "partners": ("a", "b"),
        "survivors": ("a", "b"),
        "sealed": {"a": DIGEST, "b": DIGEST},
        "revealed": {"a": DIGEST},
        **dict.fromkeys(("overlap", "held_out"), ((1, 2, 3), (4, 5, 6))),
    }
