"""From logits at the plan's spacing to a label map on the image's own grid."""

from __future__ import annotations

import numpy as np

from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.pipeline import Placement, to_native
from fednnunet.preprocess.resample import resample_logits
from fednnunet.task import Task


def labels_of_logits(
    logits: np.ndarray, placement: Placement, task: Task, resampling: Resampling
) -> np.ndarray:
    """Logits (k, z, y, x) of a prepared volume to labels (z, y, x) of the whole native image.

    Classes are resampled one by one and compared with the maximum so far, so that memory for three
    native volumes is enough for any number of classes. If logits are equal, the lower label wins.
    """
    crop = _regions(logits, placement, task, resampling) if task.regions else None
    if crop is None:
        crop = _argmax(logits, placement, resampling)
    return to_native(crop, placement)


def region_values(task: Task) -> tuple[int, ...]:
    """The label value that each region writes into a label map.

    Regions are written in order and later ones overwrite earlier ones. Each writes the first of its
    values that is in no later region (whole tumour {1, 2, 3}, core {2, 3} and enhancing {3} write
    1, 2 and 3), or its first value if there is none.
    """
    regions = list(task.regions.values())
    values = []
    for i, region in enumerate(regions):
        later = {value for other in regions[i + 1 :] for value in other}
        own = [value for value in region if value not in later]
        values.append((own or list(region))[0])
    return tuple(values)


def native_logits(
    logits: np.ndarray, index: int, placement: Placement, resampling: Resampling
) -> np.ndarray:
    """One channel's logits (z, y, x) on the cropped native grid, axes in the plan's order."""
    return resample_logits(
        logits[index : index + 1],
        placement.target_mm,
        placement.spacing_mm,
        placement.cropped_shape,
        order=resampling.logits_order,
        thick_axis_order=resampling.thick_axis_order,
        anisotropy=resampling.anisotropy,
    )[0]


def _argmax(logits: np.ndarray, placement: Placement, resampling: Resampling) -> np.ndarray:
    best = native_logits(logits, 0, placement, resampling).copy()
    labels = np.zeros(best.shape, _small_type(len(logits) - 1))
    for value in range(1, len(logits)):
        current = native_logits(logits, value, placement, resampling)
        better = current > best
        labels[better] = value
        np.copyto(best, current, where=better)
    return labels


def _regions(
    logits: np.ndarray, placement: Placement, task: Task, resampling: Resampling
) -> np.ndarray:
    values = region_values(task)
    labels = np.zeros(placement.cropped_shape, _small_type(max(values)))
    for index, value in enumerate(values):
        inside = native_logits(logits, index, placement, resampling) > 0  # sigmoid above a half
        labels[inside] = value
    return labels


def _small_type(highest: int) -> type[np.unsignedinteger]:
    return np.uint8 if highest <= 255 else np.uint16
