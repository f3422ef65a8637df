"""How the weight of pseudo-labels rises over the federation's iterations.

Laine and Aila, "Temporal Ensembling for Semi-Supervised Learning", ICLR 2017: with t from 0 to 1,

    exp(-5 (1 - t)^2).
"""

from __future__ import annotations

import math

from fednnunet.labels.settings import PseudoLabels


def ramp(settings: PseudoLabels, done: float) -> float:
    """From 0 to 1, where the share `done` of the federation's iterations is over."""
    if done < settings.start:
        return 0.0
    if settings.ramp_up == 0:
        return 1.0
    part = min((done - settings.start) / settings.ramp_up, 1.0)
    return math.exp(-5 * (1 - part) ** 2)
