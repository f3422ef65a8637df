"""Property inference from planning sums: who was taken out between two fingerprints of a site.

A coordinator that had the sums of a site before and after one patient left would look at their
difference. For every patient the site's own release is made with and without it, and the difference
is compared, by cosine, with the fingerprint of every patient. Chance is 1 over their number. A site
does not answer so: it repeats its first answer until enough cases have changed (`measurements`);
the figure says what that rule keeps back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.task import Task

Release = Callable[[Sequence[CaseFingerprint], int], Fingerprint]
"""What would leave of these cases; the number tells one release from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differencing:
    """Of so many patients, how many were named by the difference, with the 95 % interval."""

    patients: int
    named: int
    share: float
    low: float
    high: float
    chance: float


def difference(task: Task, cases: Sequence[CaseFingerprint], release: Release) -> Differencing:
    """Take each case out once, and guess which it was."""
    own = np.stack([_scaled(Fingerprint.of(task, [case]).vector) for case in cases])
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    named = 0
    for place in range(len(cases)):
        rest = [case for number, case in enumerate(cases) if number != place]
        before = release(cases, 2 * place).vector
        change = _scaled(before - release(rest, 2 * place + 1).vector)
        scores = own @ change
        others = np.delete(scores, place)
        named += bool(scores[place] > others.max())
    found = binomtest(named, len(cases)).proportion_ci(method="wilson")
    return Differencing(
        patients=len(cases),
        named=named,
        share=named / len(cases),
        low=float(found.low),
        high=float(found.high),
        chance=1 / len(cases),
    )


def _scaled(vector: np.ndarray) -> np.ndarray:
    """Signed logarithms, so that numbers of voxels do not outweigh all histograms."""
    scaled: np.ndarray = np.sign(vector) * np.log1p(np.abs(vector))
    return scaled
