"""Which cases plainly belong to another task, seen by how far they are from a site's others.

A case is odd only if it is both far in plain terms (a factor) and far beyond the spread of the
others (median absolute deviations): sites that vary by nature are left in peace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fednnunet.preprocess.check_case import Traits
from fednnunet.task import Task

_FEWEST = 4  # cases below which there is no "others" to compare with
_DEVIATIONS = 8.0
_LEAST_SPREAD = 0.05  # of a logarithm: 5 %
_SPACING, _EXTENT, _SHAPE, _RANGE = 1.8, 1.9, 2.2, 12.0  # factors that are far
_CT_AIR = 0.05
_MOST = 0.75


def odd_ones(traits: Sequence[Traits], task: Task) -> list[tuple[Traits, str]]:
    """Cases that look like another task's, each with the reasons in words."""
    reasons: dict[str, list[str]] = {}
    for case, reason in (*_modality(traits, task), *_far(traits)):
        reasons.setdefault(case, []).append(reason)
    return [(t, "; ".join(reasons[t.case])) for t in traits if t.case in reasons]


def _far(traits: Sequence[Traits]) -> Iterator[tuple[str, str]]:
    if len(traits) < _FEWEST:
        return
    spacing = np.array([t.spacing_mm for t in traits])
    shape = np.array([t.shape_vox for t in traits], float)
    intensity = np.maximum(np.array([t.range for t in traits]), 1e-6)
    for values, factor, word, columns in (
        (spacing, _SPACING, "spacing in mm", "zyx"),
        (spacing * shape, _EXTENT, "extent in mm", "zyx"),
        (shape, _SHAPE, "number of voxels", "zyx"),
        (intensity, _RANGE, "range of intensities", ""),
    ):
        usual = np.median(values, axis=0)
        distance = np.abs(np.log(values) - np.log(usual))
        spread = 1.4826 * np.median(distance, axis=0)
        limit = np.maximum(np.log(factor), _DEVIATIONS * np.maximum(spread, _LEAST_SPREAD))
        for i, axis in np.argwhere(distance > limit):
            name = f" along {columns[axis]}" if columns else f" of channel {axis}"
            found, others = f"{values[i, axis]:.4g}", f"{usual[axis]:.4g}"
            yield traits[i].case, f"{word}{name} is {found}, others have about {others}"


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
