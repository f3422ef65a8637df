"""Find cases that probably belong to another task, by their distance from a site's other cases.

A value is an outlier only if it differs from the median by a large factor *and* by many median
absolute deviations, so that a site with heterogeneous cases raises no false alarms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fednnunet.preprocess.check_case import CaseProperties
from fednnunet.task import Task

_MIN_CASES = 4  # with fewer cases there is no meaningful median
_DEVIATIONS = 8.0
_MIN_SPREAD = 0.05  # of a logarithm: 5 %
_SPACING, _EXTENT, _SHAPE, _RANGE = 1.8, 1.9, 2.2, 12.0  # factors from the median
_CT_AIR = 0.05  # share of air voxels from which on an image may be CT
_MAJORITY = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A case that differs strongly from a site's other cases."""

    properties: CaseProperties
    reasons: str
    """Each value that differs, with the usual one."""
    is_other_task: bool
    """Whether the case probably belongs to another task; otherwise it should be reviewed."""


def outliers(cases: Sequence[CaseProperties], task: Task) -> list[Outlier]:
    """The cases that differ strongly from the others, each with the reasons.

    MRI intensities have no absolute scale, so in MRI an unusual intensity range alone does not mean
    another task.
    """
    geometry = _by_case((*_modality(cases, task), *_geometry(cases)))
    intensity = _by_case(_intensity(cases))
    absolute_scale = any(name.lower() == "ct" for name in task.channels)
    found = []
    for one in cases:
        reasons = [*geometry.get(one.case, ()), *intensity.get(one.case, ())]
        if reasons:
            found.append(
                Outlier(
                    properties=one,
                    reasons="; ".join(reasons),
                    is_other_task=one.case in geometry or absolute_scale,
                )
            )
    return found


def _by_case(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for case, reason in found:
        reasons.setdefault(case, []).append(reason)
    return reasons


def _geometry(cases: Sequence[CaseProperties]) -> Iterator[tuple[str, str]]:
    spacing = np.array([one.spacing_mm for one in cases])
    shape = np.array([one.shape_vox for one in cases], float)
    for values, factor, quantity in (
        (spacing, _SPACING, "spacing in mm"),
        (spacing * shape, _EXTENT, "extent in mm"),
        (shape, _SHAPE, "number of voxels"),
    ):
        for i, axis, numbers in _far_from_median(values, factor):
            yield cases[i].case, f"{quantity} along {'zyx'[axis]} is {numbers}"


def _intensity(cases: Sequence[CaseProperties]) -> Iterator[tuple[str, str]]:
    ranges = np.maximum(np.array([one.range for one in cases]), 1e-6)
    for i, channel, numbers in _far_from_median(ranges, _RANGE):
        yield cases[i].case, f"range of intensities of channel {channel} is {numbers}"


def _far_from_median(values: np.ndarray, factor: float) -> Iterator[tuple[int, int, str]]:
    """Row, column and description of each value far from its column's median; values (n, k)."""
    if len(values) < _MIN_CASES:
        return
    usual = np.median(values, axis=0)
    distance = np.abs(np.log(values) - np.log(usual))
    spread = 1.4826 * np.median(distance, axis=0)
    limit = np.maximum(np.log(factor), _DEVIATIONS * np.maximum(spread, _MIN_SPREAD))
    for i, column in np.argwhere(distance > limit):
        numbers = f"{values[i, column]:.4g}, others have about {usual[column]:.4g}"
        yield int(i), int(column), numbers


def _modality(cases: Sequence[CaseProperties], task: Task) -> Iterator[tuple[str, str]]:
    """CT among other modalities and other modalities among CT; only CT shows much air."""
    for channel, name in enumerate(task.channels):
        ct = [one.air[channel] > _CT_AIR and one.lowest[channel] < -500 for one in cases]
        share = sum(ct) / max(len(ct), 1)
        named_ct = name.lower() == "ct"
        for one, is_ct in zip(cases, ct, strict=True):
            if is_ct and not named_ct and (share <= 1 - _MAJORITY or len(cases) < _MIN_CASES):
                yield one.case, f"channel {channel} ({name}) looks like CT"
            positive = one.lowest[channel] >= 0 and share >= _MAJORITY
            if not is_ct and positive and (named_ct or len(cases) >= _MIN_CASES):
                yield one.case, f"channel {channel} ({name}) has no negative values, unlike CT"
