"""Membership inference: whether a model's loss tells the cases that it was trained on from others.

Yeom et al., "Privacy Risk in Machine Learning", CSF 2018: the lower the loss, the likelier a case
was trained on. The attacker has the model and the case with its label map. Patches are not
augmented, and the same number of each case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from fednnunet.audit.statistics import Estimate, auc, true_positive_rate, with_interval
from fednnunet.supervision import Supervision
from fednnunet.training.batches import Batch
from fednnunet.training.device import Execution
from fednnunet.training.evaluate_patches import Prediction, evaluate_patches
from fednnunet.training.losses import SupervisedLoss


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """How well the loss of a model tells members; `reaches_chance` if the interval has 0.5."""

    members: int
    others: int
    auc: Estimate
    tpr_at_10_percent: Estimate

    @property
    def reaches_chance(self) -> bool:
        """Whether nothing was shown: the interval of the AUC goes down to 0.5."""
        return self.auc.low <= 0.5


def case_scores(
    network: nn.Module,
    batches: Iterable[Batch],
    losses: Mapping[Supervision, SupervisedLoss],
    execution: Execution,
) -> list[float]:
    """Minus the loss of each batch, which holds patches of one case with one supervision.

    `losses` read the finest logits alone.
    """

    def score(prediction: Prediction) -> float:
        loss = losses[prediction.batch.supervision[0]]
        return -float(loss([prediction.logits], prediction.batch.labels))

    return evaluate_patches(network, batches, execution, score)


def membership(members: list[float], others: list[float]) -> Membership | None:
    """What scores of both groups show; None where a group has fewer than two cases."""
    if min(len(members), len(others)) < 2 or not np.isfinite([*members, *others]).all():
        return None
    return Membership(
        members=len(members),
        others=len(others),
        auc=with_interval(auc, members, others),
        tpr_at_10_percent=with_interval(true_positive_rate, members, others),
    )
