"""Which cases plainly belong to another task, seen by how far they are from a site's others.

A case is odd only if it is both far in plain terms (a factor) and far beyond the spread of the
others (median absolute deviations): sites that vary by nature are left in peace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fednnunet.preprocess.check_case import Traits
from fednnunet.task import Task

_FEWEST = 4  # cases below which there is no "others" to compare with
_DEVIATIONS = 8.0
_LEAST_SPREAD = 0.05  # of a logarithm: 5 %
_SPACING, _EXTENT, _SHAPE, _RANGE = 1.8, 1.9, 2.2, 12.0  # factors that are far
_CT_AIR = 0.05
_MOST = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A case that is far from the others, and why; `plainly` of another task, or worth a look."""

    traits: Traits
    reasons: str
    plainly: bool


def outliers(traits: Sequence[Traits], task: Task) -> list[Outlier]:
    """Cases that look like another task's, each with the reasons in words.

    Scanners of MRI give intensities no fixed scale, so another scale alone is only worth a look.
    """
    places, scales = _gather((*_modality(traits, task), *_far(traits))), _gather(_scales(traits))
    odd = []
    for t in traits:
        reasons = [*places.get(t.case, ()), *scales.get(t.case, ())]
        absolute = any(name.lower() == "ct" for name in task.channels)
        if reasons:
            plainly = t.case in places or absolute
            odd.append(Outlier(traits=t, reasons="; ".join(reasons), plainly=plainly))
    return odd


def _gather(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for case, reason in found:
        reasons.setdefault(case, []).append(reason)
    return reasons


def _far(traits: Sequence[Traits]) -> Iterator[tuple[str, str]]:
    spacing = np.array([t.spacing_mm for t in traits])
    shape = np.array([t.shape_vox for t in traits], float)
    for values, factor, word in (
        (spacing, _SPACING, "spacing in mm"),
        (spacing * shape, _EXTENT, "extent in mm"),
        (shape, _SHAPE, "number of voxels"),
    ):
        for i, axis, words in _outliers(values, factor):
            yield traits[i].case, f"{word} along {'zyx'[axis]} is {words}"


def _scales(traits: Sequence[Traits]) -> Iterator[tuple[str, str]]:
    ranges = np.maximum(np.array([t.range for t in traits]), 1e-6)
    for i, channel, words in _outliers(ranges, _RANGE):
        yield traits[i].case, f"range of intensities of channel {channel} is {words}"


def _outliers(values: np.ndarray, factor: float) -> Iterator[tuple[int, int, str]]:
    """Row and column of what is far from its column's median, and both in words."""
    if len(values) < _FEWEST:
        return
    usual = np.median(values, axis=0)
    distance = np.abs(np.log(values) - np.log(usual))
    spread = 1.4826 * np.median(distance, axis=0)
    limit = np.maximum(np.log(factor), _DEVIATIONS * np.maximum(spread, _LEAST_SPREAD))
    for i, column in np.argwhere(distance > limit):
        words = f"{values[i, column]:.4g}, others have about {usual[column]:.4g}"
        yield int(i), int(column), words


def _modality(traits: Sequence[Traits], task: Task) -> Iterator[tuple[str, str]]:
    """CT among others and others among CT, by the air that only CT shows."""
    for channel, name in enumerate(task.channels):
        ct = [t.air[channel] > _CT_AIR and t.lowest[channel] < -500 for t in traits]
        share = sum(ct) / max(len(ct), 1)
        named_ct = name.lower() == "ct"
        for t, is_ct in zip(traits, ct, strict=True):
            if is_ct and not named_ct and (share <= 1 - _MOST or len(traits) < _FEWEST):
                yield t.case, f"channel {channel} ({name}) looks like CT"
            positive = t.lowest[channel] >= 0 and share >= _MOST
            if not is_ct and positive and (named_ct or len(traits) >= _FEWEST):
                yield t.case, f"channel {channel} ({name}) has no negative values, as CT would"
