"""Why a prediction should not be trusted: an image or a mask unlike all that the plan was made of.

The ranges come with the plan (`planning.seen`), so this works outside of the federation, too. They
are wide on purpose: whoever is warned of everything heeds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from fednnunet.planning.plan import Plan
from fednnunet.planning.seen import Range, Seen
from fednnunet.preprocess.crop import crop, nonzero_box
from fednnunet.preprocess.orient import Turn, orientation_code
from fednnunet.task import Task
from fednnunet.volume import Volume

_FACTOR = 1.5  # by which spacing and size may lie beyond the range
_FACTOR_ML = 2.0  # by which the volume of a label may
_MIN_SHARE = 0.01  # of the image's voxels that have an intensity of the training's foreground


def image_doubts(volume: Volume, plan: Plan) -> tuple[str, ...]:
    """What is unusual about an image (c, z, y, x) before its mask is predicted."""
    return (*_constant(volume, plan), *_geometry(volume, plan), *_intensity(volume, plan))


def mask_doubts(mask: np.ndarray, volume_ml: float, plan: Plan) -> tuple[str, ...]:
    """What is unusual about a mask (z, y, x) whose voxels have `volume_ml`."""
    if plan.seen is None:
        return ()
    counts = np.bincount(mask.ravel(), minlength=len(plan.task.labels))
    return tuple(_volumes(counts * volume_ml, plan))


def _constant(volume: Volume, plan: Plan) -> Iterator[str]:
    for name, channel in zip(plan.task.channels, volume.array, strict=True):
        if channel.min() == channel.max():
            yield f"channel {name} has the same value {channel.flat[0]:g} everywhere"


def _geometry(volume: Volume, plan: Plan) -> Iterator[str]:
    if plan.seen is None:
        return
    code = orientation_code(volume.geometry)
    turn = Turn.between(code, plan.orientation)
    if plan.seen.orientations and code not in plan.seen.orientations:
        seen = ", ".join(plan.seen.orientations)
        yield f"stored as {code or 'unknown'}, training images as {seen}: is its header right?"
    inside = crop(volume.array, nonzero_box(volume.array))[0].shape
    edges = [count * step for count, step in zip(inside, volume.spacing_mm, strict=True)]
    size = turn.order((edges[0], edges[1], edges[2]))
    for word, values, ranges in (
        ("spacing", turn.order(volume.spacing_mm), plan.seen.spacing_mm),
        ("size", size, plan.seen.size_mm),
    ):
        if not all(_within(v, r, _FACTOR) for v, r in zip(values, ranges, strict=True)):
            usual = " x ".join(_range(r) for r in ranges)
            yield f"{word} {' x '.join(f'{v:.3g}' for v in values)} mm, in training {usual} mm"


def _intensity(volume: Volume, plan: Plan) -> Iterator[str]:
    for name, channel, known in zip(plan.task.channels, volume.array, plan.intensity, strict=True):
        low, high = known.percentile_00_5, known.percentile_99_5
        if low >= high:
            continue
        share = float(((channel >= low) & (channel <= high)).mean())
        if share < _MIN_SHARE and channel.min() < channel.max():
            yield (
                f"{share:.1%} of the voxels of channel {name} have an intensity of the training's "
                f"foreground ({low:.4g} to {high:.4g})"
            )


def _volumes(volumes_ml: np.ndarray, plan: Plan) -> Iterator[str]:
    if plan.seen is None:
        return
    always = set(plan.seen.always)
    for name, values in _written_values(plan.task).items():
        volume = float(volumes_ml[list(values)].sum())
        labels = [plan.task.labels[value] for value in values]
        usual = _usual_ml(plan.seen, labels)
        if volume == 0:
            if always & set(labels):
                yield f"nothing of {name}, which every training case has"
        elif usual and not _within(volume, usual, _FACTOR_ML):
            yield f"{volume:.3g} ml of {name}, in training {_range(usual)} ml"


def _usual_ml(seen: Seen, labels: Sequence[str]) -> Range | None:
    """Volumes that labels have together where any is there; None if one's own are not known.

    The least is that of all labels which every case has, else of the smallest one.
    """
    known = [seen.foreground_ml.get(label) for label in labels]
    ranges = [found for found in known if found]
    if not ranges or len(ranges) < len(known):
        return None
    fixed = [seen.foreground_ml[label][0] for label in labels if label in seen.always]
    low = sum(fixed) if fixed else min(found[0] for found in ranges)
    return low, sum(found[1] for found in ranges)


def _written_values(task: Task) -> dict[str, tuple[int, ...]]:
    """The values in a mask by which each target is known: labels, or regions.

    A mask has one value a voxel, so a region shows whole only where no later one writes values of
    its own over it, as in the nested regions of brain tumours; other regions are left out.
    """
    if not task.regions:
        return {name: (value,) for value, name in enumerate(task.labels) if value}
    found, regions = {}, list(task.regions.items())
    for place, (name, values) in enumerate(regions):
        if all(
            set(later) <= set(values) or not set(later) & set(values)
            for _, later in regions[place + 1 :]
        ):
            found[name] = values
    return found


def _within(value: float, known: Range, factor: float) -> bool:
    return math.isfinite(value) and known[0] / factor <= value <= known[1] * factor


def _range(known: Range) -> str:
    low, high = (f"{edge:.3g}" for edge in known)
    return low if low == high else f"{low} to {high}"
