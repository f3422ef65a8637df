"""What a site releases for planning under differential privacy: counts with Gaussian noise.

Each case is counted once in every one of the histograms below, in coarse bins, with a weight of one
over the number of its patient's cases. A patient thus adds at most 1 to each histogram in its L2
norm, and at most sqrt(h) to all h of them together: the sensitivity. Every bin gets noise of
`noise` times that. What follows uses the noisy counts alone: bins below two standard deviations of
the noise are emptied, and the number of cases, which every site states anyway, is shared out among
the others. The result has the form of exact sums, with all cases of a bin at its middle.

Not released: volumes and numbers of voxels per label. The intensity histogram is 10 % coarse, as
under minimum counts; spacing and shape are 11 and 14 % coarse, so a plan made of them may differ
from nnU-Net's in the last rounding of spacings and patches.

Dwork and Roth, The Algorithmic Foundations of Differential Privacy, 2014, chapter 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fednnunet.planning.fingerprint import (
    AXES,
    LABEL_KINDS,
    CaseFingerprint,
    Fingerprint,
    check_case,
)
from fednnunet.planning.histogram import CROP_RATIO, SPACING_MM, Binning
from fednnunet.planning.minimum_counts import COARSE_BINS, COARSE_OF, spread_intensities
from fednnunet.planning.orientation import UNKNOWN_ORIENTATION, orientation_place
from fednnunet.planning.shapes import ShapeSketch, Spacing, resampled_shapes
from fednnunet.secret_noise import normal
from fednnunet.task import Task

SPACING_EDGES = np.geomspace(0.1, 20.0, 49)
SHAPE_EDGES = np.geomspace(4, 4096, 50)
CROP_EDGES = np.linspace(0, 1, 9)
_KEPT = 2.0  # standard deviations of the noise that a bin must hold


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """Adds the noise; `std` is that of every bin."""

    key: bytes
    std: float
    used: list[int] = field(default_factory=list)

    def on(self, counts: np.ndarray) -> np.ndarray:
        """Noisy counts of the same shape; each call has noise of its own."""
        self.used.append(counts.size)
        numbers = normal(self.key, f"counts/{len(self.used)}", counts.size)
        noisy: np.ndarray = counts + self.std * numbers.reshape(counts.shape)
        return noisy

    def shared_out(self, counts: np.ndarray, total: int) -> np.ndarray:
        """Whole numbers that sum to `total`, in proportion to the noisy counts that stand out."""
        noisy = self.on(counts)
        kept = np.where(noisy > _KEPT * self.std, noisy, 0.0)
        if not kept.any():
            kept[int(np.argmax(noisy))] = 1.0
        exact = kept / kept.sum() * total
        whole = np.floor(exact)
        rest = np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]
        whole[rest] += 1
        return whole


def sensitivity(task: Task) -> float:
    """By how much a patient changes all histograms of a fingerprint together, in L2 norm.

    Three of spacing and three of shape, crop ratio, orientation and foreground; a count a label; a
    kind for each label; and an intensity histogram a channel.
    """
    return math.sqrt(3 + 3 + 3 + 2 * len(task.labels) + len(task.channels))


def noisy_fingerprint(
    task: Task,
    cases: Sequence[CaseFingerprint],
    weights: Sequence[float],
    *,
    noise: float,
    key: bytes,
) -> Fingerprint:
    """The fingerprint that may leave a site; `weights` are one over the cases of each's patient.

    Raises DataError for a case that does not belong to the task.
    """
    for case in cases:
        check_case(task, case)
    total, share = len(cases), np.asarray(weights, np.float64)
    adds = _Noise(key=key, std=noise * sensitivity(task))
    result = Fingerprint.empty(task)
    result.block("cases")[:] = total
    for axis, name in enumerate(AXES):
        spacing = _histogram([case.spacing_mm[axis] for case in cases], share, SPACING_EDGES)
        counts = adds.shared_out(spacing, total)
        _fill(result.block(f"spacing_{name}"), SPACING_MM, counts, _middles(SPACING_EDGES))
        shape = _histogram([case.shape_vox[axis] for case in cases], share, SHAPE_EDGES)
        _fill_shapes(result.block(f"shape_{name}"), adds.shared_out(shape, total))
    crop = _histogram([case.crop_ratio for case in cases], share, CROP_EDGES)
    middles = (CROP_EDGES[:-1] + CROP_EDGES[1:]) / 2
    _fill(result.block("crop_ratio"), CROP_RATIO, adds.shared_out(crop, total), middles)
    places = [orientation_place(case.orientation) for case in cases]
    oriented = np.bincount(places, share, UNKNOWN_ORIENTATION + 1)
    result.block("orientation")[:] = adds.shared_out(oriented, total)
    _fill_labels(result, cases, share, adds)
    return result


def noisy_shapes(
    spacing_mm: Spacing,
    cases: Sequence[tuple[Spacing, tuple[int, int, int]]],
    weights: Sequence[float],
    *,
    noise: float,
    key: bytes,
) -> ShapeSketch:
    """The histograms of resampled shapes that may leave a site: a release of its own."""
    result, share = ShapeSketch.empty(spacing_mm), np.asarray(weights, np.float64)
    adds = _Noise(key=key, std=noise * math.sqrt(len(AXES)))
    shapes = resampled_shapes(spacing_mm, cases)
    for axis, counts in enumerate(result.counts):
        exact = _histogram([shape[axis] for shape in shapes], share, SHAPE_EDGES)
        _fill_shapes(counts, adds.shared_out(exact, len(cases)))
    return result


def _fill_labels(
    result: Fingerprint, cases: Sequence[CaseFingerprint], share: np.ndarray, adds: _Noise
) -> None:
    """Labels, their kinds, and foreground: numbers of cases from noisy weights of patients."""
    total, scale = len(cases), len(cases) / float(share.sum())

    def whole(counts: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(adds.on(counts) * scale), 0, total)

    present = np.array([case.voxels_per_label for case in cases]) > 0
    labelled = whole((present * share[:, None]).sum(axis=0))
    kinds = np.zeros((len(LABEL_KINDS), len(labelled)))
    for case, weight in zip(cases, share, strict=True):
        said = [case.says_of(value) for value in range(len(labelled))]
        kinds[LABEL_KINDS.index(case.kind)] += weight * np.array(said)
    noisy = adds.on(kinds) * scale
    kept = np.where(noisy > _KEPT * adds.std * scale, np.rint(noisy), 0.0)
    over = np.maximum(kept.sum(axis=0) / total, 1.0)
    result.block("label_kinds")[:] = np.floor(kept / over)
    result.block("cases_per_label")[:] = labelled
    result.block("voxels_per_label")[:] = labelled  # not released: one voxel a case
    has_some = np.array([not all(one.empty for one in case.foreground) for case in cases])
    with_foreground = max(whole(np.array([(has_some * share).sum()]))[0], *labelled[1:], 0.0)
    result.block("cases_with_foreground")[:] = with_foreground
    for channel in range(len(result.task.channels)):
        weights = sum(
            (
                weight * np.bincount(COARSE_OF[one.bins], one.columns[1], COARSE_BINS)
                for weight, one in zip(share, (c.foreground[channel] for c in cases), strict=True)
            ),
            start=np.zeros(COARSE_BINS),
        )
        counts = adds.shared_out(weights, 2**10)
        if with_foreground:
            table = spread_intensities(counts, int(with_foreground))
            result.block(f"foreground_{channel}")[:] = table


def _histogram(values: Sequence[float], weights: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Weights (bins,) of values; those beyond the edges count in the outermost bins."""
    inside = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(inside, weights, len(edges) - 1)


def _middles(edges: np.ndarray) -> np.ndarray:
    middles: np.ndarray = np.sqrt(edges[:-1] * edges[1:])
    return middles


def _fill(table: np.ndarray, binning: Binning, counts: np.ndarray, middles: np.ndarray) -> None:
    for count, middle in zip(counts, middles, strict=True):
        for _ in range(int(count)):
            binning.add(table, float(f"{middle:.3g}"))


def _fill_shapes(table: np.ndarray, counts: np.ndarray) -> None:
    for count, middle in zip(counts, _middles(SHAPE_EDGES), strict=True):
        table[round(middle)] += count
