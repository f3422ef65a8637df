"""Pictures of single cases: an image, the prediction filled and the reference outlined.

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
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from fednnunet.evaluation.metrics import CaseScores, target_values
from fednnunet.task import Task
from fednnunet.volume import Volume

STRUCTURES = (
    "#ff9d3c", "#35c9d6", "#7bd651", "#ff5d8f", "#b58cff", "#ffe14d", "#5aa2ff", "#d6a06a",
)  # fmt: skip

_SIDE_INCHES = 2.6
_DPI = 150
_SHOWN_FROM = 0.1  # the uncertainty that is shown in colour
_BARS_MM = (1, 2, 5, 10, 20, 50, 100)
_WINDOWS = {"lung": (-1350.0, 150.0), "soft tissue": (-160.0, 240.0), "bone": (-450.0, 1050.0)}


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


def draw_case(
    image: Volume, predicted: np.ndarray, reference: np.ndarray, task: Task, *, planes: int = 1
) -> bytes:
    """A PNG of slices of the first channel: the prediction filled, the reference outlined.

    Masks are (z, y, x); each structure has its colour. The first slice lies across the axis of
    largest spacing (else the first), with 3 `planes` the others too; each where the targets of the
    reference are on the whole largest, each against its own largest area. A slice shows the
    surroundings of the masks in true proportions, with its plane, number, and a scale.
    """
    spacing = image.spacing_mm
    first = int(np.argmax(spacing)) if max(spacing) > 1.05 * min(spacing) else 0
    shown = [first, *(axis for axis in range(3) if axis != first)][:planes]
    figure = Figure(figsize=(_SIDE_INCHES * len(shown), _SIDE_INCHES), dpi=_DPI, facecolor="black")
    window = _intensities(image, reference if reference.any() else predicted, task)
    for place, axis in enumerate(shown):
        axes = figure.add_axes((place / len(shown), 0.0, 0.995 / len(shown), 1.0))
        _draw_slice(axes, image, (predicted, reference), axis, window, task)
    return png_of(figure)


def _draw_slice(
    axes: Axes,
    image: Volume,
    masks: tuple[np.ndarray, np.ndarray],
    axis: int,
    window: _Intensities,
    task: Task,
) -> None:
    """One slice across `axis`, with `masks` (predicted, reference)."""
    index = _fullest_slice(masks[1] if masks[1].any() else masks[0], axis, task)
    step_mm = tuple(s for a, s in enumerate(image.spacing_mm) if a != axis)
    plane = np.take(image.array[0], index, axis).astype(np.float32)
    predicted, reference = (np.take(mask, index, axis) for mask in masks)
    box = _window(predicted | reference, step_mm)
    right = _show(axes, plane[box], step_mm, axis, window.range_of(plane[box]))
    for colour, values in zip(_colours(task), target_values(task).values(), strict=True):
        _fill(axes, np.isin(predicted[box], values), step_mm, colour)
        _outline(axes, np.isin(reference[box], values), step_mm, colour)
    count = image.shape_vox[axis]
    _write(axes, 0.02, 0.98, f"{plane_name(image, axis)}, slice {index + 1} of {count}", "top")
    if window.words and axis == int(np.argmax(image.spacing_mm)):
        _write(axes, 0.02, 0.02, window.words, "bottom")
    _scale(axes, right)


def draw_planes(image: Volume, mask: np.ndarray, uncertainty: np.ndarray, task: Task) -> bytes:
    """A PNG of three slices, one across each axis: the mask outlined, above it what is unsure.

    `mask` and `uncertainty` (0 to 1) are (z, y, x). Each slice is the one where the mask is
    largest, or without a mask the most unsure one; the upper row shows it with the uncertainty in
    colour, the lower row with the mask's outlines. Both rows show the same surroundings.
    """
    figure = Figure(figsize=(3 * _SIDE_INCHES, 2 * _SIDE_INCHES), dpi=_DPI, facecolor="black")
    window = _intensities(image, mask, task)
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        unsure = int(uncertainty.sum(axis=others).argmax())
        index = _fullest_slice(mask, axis, task) if mask.any() else unsure
        step_mm = tuple(s for a, s in enumerate(image.spacing_mm) if a != axis)
        found, doubt = (np.take(array, index, axis) for array in (mask, uncertainty))
        box = _window(found | (doubt > _SHOWN_FROM), step_mm)
        plane = np.take(image.array[0], index, axis).astype(np.float32)[box]
        lower, upper = (figure.add_axes((axis / 3, y / 2, 1 / 3, 1 / 2)) for y in range(2))
        for axes in (lower, upper):
            _show(axes, plane, step_mm, axis, window.range_of(plane))
        for colour, values in zip(_colours(task), target_values(task).values(), strict=True):
            _outline(lower, np.isin(found[box], values), step_mm, colour)
        veil = np.ma.masked_less(doubt[box], _SHOWN_FROM)
        _show(upper, veil, step_mm, axis, (0.0, 1.0), colours="inferno")
    return png_of(figure)


def draw_review(
    image: Volume, labelled: np.ndarray, predicted: np.ndarray, corrected: np.ndarray, task: Task
) -> bytes:
    """A PNG of three slices, one across each axis, to review a label map.

    Masks are (z, y, x). The upper row outlines the label map, and the model's mask in dashes; the
    lower row outlines the corrected label map. Each slice is the one where the masks differ most,
    or without a difference the one where the label map is largest.
    """
    figure = Figure(figsize=(3 * _SIDE_INCHES, 2 * _SIDE_INCHES), dpi=_DPI, facecolor="black")
    shown = labelled if labelled.any() else predicted
    window, different = _intensities(image, shown, task), labelled != predicted
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        index = _fullest_slice(shown, axis, task)
        if different.any():
            index = int(different.sum(axis=others).argmax())
        step_mm = tuple(s for a, s in enumerate(image.spacing_mm) if a != axis)
        planes = [np.take(mask, index, axis) for mask in (labelled, predicted, corrected)]
        box = _window((planes[0] > 0) | (planes[1] > 0), step_mm)
        plane = np.take(image.array[0], index, axis).astype(np.float32)[box]
        lower, upper = (figure.add_axes((axis / 3, y / 2, 1 / 3, 1 / 2)) for y in range(2))
        for axes in (lower, upper):
            _show(axes, plane, step_mm, axis, window.range_of(plane))
        places = ((upper, "solid"), (upper, "dashed"), (lower, "solid"))
        for mask, (axes, line) in zip(planes, places, strict=True):
            for colour, values in zip(_colours(task), target_values(task).values(), strict=True):
                _outline(axes, np.isin(mask[box], values), step_mm, colour, line=line)
        _write(upper, 0.02, 0.98, f"{plane_name(image, axis)}, slice {index + 1}", "top")
    return png_of(figure)


def _show(
    axes: Axes,
    plane: np.ndarray,
    step_mm: Sequence[float],
    axis: int,
    limits: tuple[float, float],
    *,
    colours: str = "",
) -> float:
    """Show a slice across `axis` in true proportions, grey or in `colours`; returns its width."""
    low, high = limits
    right, top = plane.shape[1] * step_mm[1], plane.shape[0] * step_mm[0]
    extent = (0.0, right, top, 0.0) if axis == 0 else (0.0, right, 0.0, top)
    axes.set_axis_off()
    axes.imshow(
        plane,
        cmap=colours or "gray",
        alpha=0.6 if colours else 1.0,
        vmin=low,
        vmax=max(high, low + 1e-6),
        extent=extent,
        origin="upper" if axis == 0 else "lower",
        interpolation="nearest" if colours else "bilinear",
    )
    axes.set_xlim(*extent[:2])
    axes.set_ylim(*extent[2:])
    return right


def plane_name(image: Volume, axis: int) -> str:
    """The plane across an axis (0 = z) of the array: axial, coronal or sagittal, by the nearest."""
    matrix = np.abs(np.reshape(image.geometry.direction, (3, 3)))
    return ("sagittal", "coronal", "axial")[int(matrix[:, 2 - axis].argmax())]


def structure_colours(task: Task) -> dict[str, str]:
    """The colour of each target in the pictures, for a legend."""
    return dict(zip(target_values(task), _colours(task), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intensities:
    """The intensities from black to white: a window of CT, or those of each slice."""

    limits: tuple[float, float] | None = None
    words: str = ""

    def range_of(self, plane: np.ndarray) -> tuple[float, float]:
        """Black and white for a slice."""
        if self.limits is not None:
            return self.limits
        low, high = np.percentile(plane, (0.5, 99.5))
        return float(low), float(high)


def _intensities(image: Volume, mask: np.ndarray, task: Task) -> _Intensities:
    """For CT the window of soft tissue, lung or bone, by what the structures consist of."""
    if task.channels[0].lower() != "ct":
        return _Intensities()
    inside = image.array[0][mask > 0]
    median = float(np.median(inside)) if inside.size else 0.0
    name = "lung" if median < -300 else "bone" if median > 300 else "soft tissue"
    low, high = _WINDOWS[name]
    words = f"{name} window, {low:.0f} to {high:.0f} HU"
    return _Intensities(limits=(low, high), words=words)


def _colours(task: Task) -> list[str]:
    count = len(target_values(task))
    return [STRUCTURES[index % len(STRUCTURES)] for index in range(count)]


def _write(axes: Axes, x: float, y: float, text: str, side: Literal["top", "bottom"]) -> None:
    axes.text(x, y, text, color="white", fontsize=6, va=side, transform=axes.transAxes)


def _scale(axes: Axes, width_mm: float) -> None:
    """A bar of a round length of about a quarter of the picture, at the lower right."""
    length = max((mm for mm in _BARS_MM if mm <= width_mm / 3), default=_BARS_MM[0])
    end, start = 0.97, 0.97 - length / width_mm
    axes.plot([start, end], [0.03, 0.03], color="white", linewidth=1.5, transform=axes.transAxes)
    axes.text(
        (start + end) / 2,
        0.045,
        f"{length} mm",
        color="white",
        fontsize=6,
        ha="center",
        va="bottom",
        transform=axes.transAxes,
    )


def png_of(figure: Figure) -> bytes:
    """A figure as PNG bytes, the same for the same figure."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()


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
    axes: Axes, mask: np.ndarray, step_mm: Sequence[float], colour: str, *, line: str = "solid"
) -> None:
    """Draw the border of a mask, half way between inner and outer voxel centres."""
    if not mask.any():
        return
    padded = np.pad(mask, 1).astype(float)
    y, x = (
        (np.arange(-1, n + 1) + 0.5) * step for n, step in zip(mask.shape, step_mm, strict=True)
    )
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=[1.3], linestyles=[line])


def _fill(axes: Axes, mask: np.ndarray, step_mm: Sequence[float], colour: str) -> None:
    """Cover a mask with its colour, so that the image is seen through it."""
    if not mask.any():
        return
    y, x = (np.arange(n + 1) * step for n, step in zip(mask.shape, step_mm, strict=True))
    shown = np.ma.masked_equal(mask, False)
    axes.pcolormesh(x, y, shown, cmap=ListedColormap([colour]), alpha=0.4, linewidth=0)
