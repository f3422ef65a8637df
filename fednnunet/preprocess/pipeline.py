"""Preprocess a volume by the plan (turn, transpose, crop, normalise, resample), and the inverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike

from fednnunet.errors import DataError
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.preprocess.crop import Box, crop, inside_mask, mark_outside, nonzero_box
from fednnunet.preprocess.normalise import normalise
from fednnunet.preprocess.orient import Turn
from fednnunet.preprocess.resample import new_shape, resample_image, resample_labels
from fednnunet.preprocess.resample_sparse import resample_bits, resample_marks
from fednnunet.supervision import UNKNOWN, WITHOUT_MAP, SupervisionKind
from fednnunet.volume import Geometry, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The position of a prepared volume in its image, for mapping predictions back.

    `box` and the two spacings are in the plan's axis order, `native_shape` is that of the turned
    image, and `turn` what turned it from its stored orientation into the plan's.
    """

    transpose: tuple[int, int, int]
    native_shape: tuple[int, int, int]
    box: Box
    spacing_mm: tuple[float, float, float]
    target_mm: tuple[float, float, float]
    prepared_shape: tuple[int, int, int]
    geometry: Geometry
    turn: Turn = field(default_factory=Turn)

    @property
    def cropped_shape(self) -> tuple[int, int, int]:
        """Shape of the crop at the image's own spacing, in the plan's axis order."""
        z, y, x = (stop - start for start, stop in self.box)
        return (z, y, x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A preprocessed case, axes in the plan's order.

    `data` is float32 (c, z, y, x). `seg` is int16 (z, y, x), with -1 for background outside the
    patient, or `None` without labels; what it holds by the kind of labels says
    `fednnunet.supervision`.
    """

    data: np.ndarray
    seg: np.ndarray | None
    placement: Placement


def prepare_volume(
    volume: Volume,
    plan: Plan,
    configuration: Configuration,
    label: np.ndarray | None = None,
    kind: SupervisionKind = "full",
) -> Prepared:
    """Prepare a volume, and its loaded `label` (z, y, x), of a `kind`, if given.

    The inputs are not changed.
    A 2D configuration keeps the spacing of the first axis. Raises DataError for a wrong number of
    channels or a label map of another shape.
    """
    _check(volume, plan, label)
    axes = plan.transpose
    turn = Turn.of(volume.geometry, plan.orientation)
    array = turn.apply(volume.array).transpose(0, *(axis + 1 for axis in axes))
    box = nonzero_box(array)
    placement = _place(volume, plan, configuration, box, turn)
    array = crop(array, box)
    inside = inside_mask(array)
    data = np.empty((len(array), *placement.prepared_shape), np.float32)
    for index, channel in enumerate(array):
        ready = np.array(channel, dtype=np.float32, order="C")
        mask = inside if configuration.use_mask[index] else None
        normalise(ready, configuration.normalisation[index], plan.intensity[index], mask)
        data[index] = _resampled(ready[None], placement, configuration)[0]
        del ready
    seg = None
    if label is not None:
        cropped = crop(turn.apply(label).transpose(axes), box)
        seg = _prepared_labels(cropped, inside, placement, configuration, kind)
    return Prepared(data=data, seg=seg, placement=placement)


def _prepared_labels(
    label: np.ndarray,
    inside: np.ndarray | None,
    placement: Placement,
    configuration: Configuration,
    kind: SupervisionKind,
) -> np.ndarray:
    """A cropped label map (z, y, x) of a kind at the prepared spacing, int16."""
    shape = placement.prepared_shape
    if kind in WITHOUT_MAP:
        return np.full(shape, UNKNOWN, np.int16)
    if kind == "box":
        return resample_bits(label.astype(np.int16), shape)
    label = mark_outside(label, inside)
    if kind in ("scribble", "point"):
        return resample_marks(label, shape)
    return resample_labels(
        label,
        placement.spacing_mm,
        placement.target_mm,
        shape,
        resampling=configuration.resampling,
    )


def native_array(
    placement: Placement,
    dtype: DTypeLike,
    *,
    channels: int | None = None,
    make: Callable[[tuple[int, ...]], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Zeros (z, y, x) of the whole image as stored, and a view of its crop in the plan's axes.

    With `channels` both have a first axis of so many. `make` gives the zeros of a shape where they
    do not lie in memory.
    """
    front = () if channels is None else (channels,)
    turned = np.broadcast_to(np.uint8(0), placement.native_shape)
    shape = (*front, *placement.turn.undo(turned).shape)
    whole = np.zeros(shape, dtype) if make is None else make(shape)
    axes = (len(front) + axis for axis in placement.transpose)
    planned = placement.turn.apply(whole).transpose(*range(len(front)), *axes)
    return whole, crop(planned, placement.box)


def _resampled(array: np.ndarray, placement: Placement, configuration: Configuration) -> np.ndarray:
    return resample_image(
        array,
        placement.spacing_mm,
        placement.target_mm,
        placement.prepared_shape,
        resampling=configuration.resampling,
    )


def _place(
    volume: Volume, plan: Plan, configuration: Configuration, box: Box, turn: Turn
) -> Placement:
    spacing = _ordered(turn.order(volume.spacing_mm), plan.transpose)
    z, y, x = turn.apply(volume.array[0]).shape
    target = configuration.spacing_mm
    full = (spacing[0], *target) if configuration.is_2d else target
    cropped = [stop - start for start, stop in box]
    return Placement(
        transpose=plan.transpose,
        native_shape=(z, y, x),
        box=box,
        spacing_mm=spacing,
        target_mm=(full[0], full[1], full[2]),
        prepared_shape=new_shape(cropped, spacing, full),
        geometry=volume.geometry,
        turn=turn,
    )


def _ordered(values: Sequence[float], axes: Sequence[int]) -> tuple[float, float, float]:
    z, y, x = (values[axis] for axis in axes)
    return (z, y, x)


def _check(volume: Volume, plan: Plan, label: np.ndarray | None) -> None:
    channels = len(plan.task.channels)
    if len(volume.array) != channels:
        raise DataError(
            f"the image has {len(volume.array)} channels, the plan needs {channels}",
            mend=f"give one file per channel: {', '.join(plan.task.channels)}",
        )
    if label is not None and label.shape != volume.shape_vox:
        raise DataError(
            f"the label map has shape {list(label.shape)}, its image {list(volume.shape_vox)}",
            mend="resample the label map onto the image's grid",
        )
