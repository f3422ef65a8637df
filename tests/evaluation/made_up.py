"""Made-up scores of cases, and trials of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fednnunet.evaluation.metrics import CaseScores, TargetScore
from fednnunet.evaluation.trials import Trial


def a_case(name: str, dice: float, *, target: str = "organ") -> CaseScores:
    """A case with that Dice of one target."""
    score = TargetScore(
        dice=dice, iou=dice, hd95_mm=1.0, assd_mm=1.0, reference_vox=1, predicted_vox=1
    )
    return CaseScores(case=name, targets={target: score})


def a_trial(
    method: str, dice: Mapping[str, Sequence[float]], *, seed: int = 0, sent: int | None = 2**20
) -> Trial:
    """A global model with those Dice of the cases c0, c1, ... of each site."""
    return Trial(
        method=method,
        model="global",
        seed=seed,
        targets=("organ",),
        cases={
            site: [a_case(f"c{number}", value) for number, value in enumerate(values)]
            for site, values in dice.items()
        },
        bytes_sent=sent,
        seconds=10.0 if method == "fedavg" else 25.0,
    )
