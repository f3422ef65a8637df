"""Pictures of single cases: an image with prediction and reference outlined.

They show a patient, so they are drawn at the site and stay in its folder.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fednnunet.evaluation.metrics import CaseScores, target_values
from fednnunet.task import Task
from fednnunet.volume import Volume

REFERENCE_COLOUR = "#35c9d6"
PREDICTION_COLOUR = "#ff9d3c"

CLASS_COLOURS = (
    "#35c9d6", "#ff9d3c", "#8bd450", "#ff6fae", "#f4e04d", "#b18cff", "#ffffff", "#ff5c5c",
)  # fmt: skip
"""Outlines of the task's targets, in their order."""

_SIDE_INCHES = 2.6
_DPI = 150
_SHOWN_FROM = 0.1  # the uncertainty that is shown in colour


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePicture:
    """A picture of a case: `rank` is its place at the site ("worst"), `png` the file's bytes."""

    case: str
    rank: str
    dice: float
    png: bytes


def pick_cases(scores: Sequence[CaseScores]) -> tuple[tuple[str, CaseScores], ...]:
    """The worst, median and best case by mean Dice; fewer where there are not three."""
    ranked = sorted((s for s in scores if not math.isnan(s.dice)), key=lambda s: (s.dice, s.case))
    if not ranked:
        return ()
    places = {"worst": 0, "median": (len(ranked) - 1) // 2, "best": len(ranked) - 1}
    if len(ranked) == 1:
        return (("only", ranked[0]),)
    if len(ranked) == 2:
        del places["median"]
    return tuple((rank, ranked[place]) for rank, place in places.items())


def draw_case(image: Volume, predicted: np.ndarray, reference: np.ndarray, task: Task) -> bytes:
    """A PNG of one slice: the first channel, reference and prediction (z, y, x) outlined.

    The slice lies across the axis of largest spacing (else the first), where the targets of the
    reference are on the whole largest, each against its own largest area. It shows the
    surroundings of the masks in true proportions.
    """
    spacing = image.spacing_mm
    axis = int(np.argmax(spacing)) if max(spacing) > 1.05 * min(spacing) else 0
    shown = reference if reference.any() else predicted
    index = _fullest_slice(shown, axis, task)
    step_mm = tuple(s for a, s in enumerate(spacing) if a != axis)
    plane = np.take(image.array[0], index, axis).astype(np.float32)
    masks = [np.take(mask, index, axis) for mask in (predicted, reference)]
    box = _window(masks[0] | masks[1], step_mm)
    figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES), dpi=_DPI, facecolor="black")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    _show(axes, plane[box], step_mm, axis)
    for values in target_values(task).values():
        _outline(axes, np.isin(masks[1][box], values), step_mm, REFERENCE_COLOUR, 1.6)
        _outline(axes, np.isin(masks[0][box], values), step_mm, PREDICTION_COLOUR, 1.0)
    return png_of(figure)


def draw_planes(image: Volume, mask: np.ndarray, uncertainty: np.ndarray, task: Task) -> bytes:
    """A PNG of three slices, one across each axis: the mask outlined, above it what is unsure.

    `mask` and `uncertainty` (0 to 1) are (z, y, x). Each slice is the one where the mask is
    largest, or without a mask the most unsure one; the upper row shows it with the uncertainty in
    colour, the lower row with the mask's outlines. Both rows show the same surroundings.
    """
    figure = Figure(figsize=(3 * _SIDE_INCHES, 2 * _SIDE_INCHES), dpi=_DPI, facecolor="black")
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        unsure = int(uncertainty.sum(axis=others).argmax())
        index = _fullest_slice(mask, axis, task) if mask.any() else unsure
        step_mm = tuple(s for a, s in enumerate(image.spacing_mm) if a != axis)
        found, doubt = (np.take(array, index, axis) for array in (mask, uncertainty))
        box = _window(found | (doubt > _SHOWN_FROM), step_mm)
        plane = np.take(image.array[0], index, axis).astype(np.float32)[box]
        for row in range(2):
            axes = figure.add_axes((axis / 3, row / 2, 1 / 3, 1 / 2))
            _show(axes, plane, step_mm, axis)
            if row:
                veil = np.ma.masked_less(doubt[box], _SHOWN_FROM)
                _show(axes, veil, step_mm, axis, colours="inferno")
                continue
            for index_of, values in enumerate(target_values(task).values()):
                colour = CLASS_COLOURS[index_of % len(CLASS_COLOURS)]
                _outline(axes, np.isin(found[box], values), step_mm, colour, 1.2)
    return png_of(figure)


def png_of(figure: Figure) -> bytes:
    """A figure as PNG bytes, the same for the same figure."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def _show(
    axes: Axes, plane: np.ndarray, step_mm: Sequence[float], axis: int, colours: str = ""
) -> None:
    """Show a slice across `axis` in true proportions: grey, or values from 0 to 1 in `colours`."""
    axes.set_axis_off()
    low, high = (0.0, 1.0) if colours else np.percentile(plane, (0.5, 99.5))
    origin: Literal["upper", "lower"] = "upper" if axis == 0 else "lower"
    right, top = plane.shape[1] * step_mm[1], plane.shape[0] * step_mm[0]
    extent = (0.0, right, top, 0.0) if axis == 0 else (0.0, right, 0.0, top)
    axes.imshow(
        plane,
        cmap=colours or "gray",
        alpha=0.6 if colours else 1.0,
        vmin=low,
        vmax=max(high, low + 1e-6),
        extent=extent,
        origin=origin,
        interpolation="nearest" if colours else "bilinear",
    )
    axes.set_xlim(*extent[:2])
    axes.set_ylim(*extent[2:])


def _fullest_slice(labels: np.ndarray, axis: int, task: Task) -> int:
    others = tuple(a for a in range(3) if a != axis)
    fullness = np.zeros(labels.shape[axis])
    for values in target_values(task).values():
        areas = np.isin(labels, values).sum(axis=others)
        fullness += areas / max(int(areas.max()), 1)
    return int(fullness.argmax()) if fullness.any() else labels.shape[axis] // 2


def _window(mask: np.ndarray, step_mm: Sequence[float]) -> tuple[slice, slice]:
    """A square window, in mm, around the mask with its own size again as margin."""
    if not mask.any():
        return (slice(0, mask.shape[0]), slice(0, mask.shape[1]))
    found = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in range(2)]
    sizes = zip(found, step_mm, strict=True)
    side_mm = max(2.0 * max((f[-1] - f[0] + 1) * s for f, s in sizes), 16.0 * max(step_mm))
    box = []
    for indices, step, length in zip(found, step_mm, mask.shape, strict=True):
        middle, half = (indices[0] + indices[-1] + 1) / 2, side_mm / step / 2
        box.append(slice(max(round(middle - half), 0), min(round(middle + half), length)))
    return (box[0], box[1])


def _outline(
    axes: Axes, mask: np.ndarray, step_mm: Sequence[float], colour: str, width: float
) -> None:
    """Draw the border of a mask, half way between inner and outer voxel centres."""
    if not mask.any():
        return
    padded = np.pad(mask, 1).astype(float)
    y, x = (
        (np.arange(-1, n + 1) + 0.5) * step for n, step in zip(mask.shape, step_mm, strict=True)
    )
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=[width])
