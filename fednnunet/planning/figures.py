"""Merged histograms of spacing, shape and intensity, with the chosen target marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fednnunet.files import replacing
from fednnunet.planning.fingerprint import AXES, Fingerprint
from fednnunet.planning.histogram import SPACING_MM
from fednnunet.planning.plan import Intensity, Plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import bin_moments
from fednnunet.text import printable

_BAR, _MARK = "#8fa8c8", "#b3261e"


def draw_figures(
    plan: Plan, fingerprint: Fingerprint, shapes: ShapeSketch, folder: Path
) -> tuple[Path, ...]:
    """Write the figures into `folder` as SVG and return their paths.

    Without any foreground there is no figure of intensities.
    """
    paths = [
        _save(_spacing_figure(fingerprint, shapes.spacing_mm), folder / "why_spacing.svg"),
        _save(_shape_figure(shapes), folder / "why_shape.svg"),
    ]
    if fingerprint.block("cases_with_foreground")[0] > 0:
        paths.append(_save(_intensity_figure(plan, fingerprint), folder / "why_intensity.svg"))
    return tuple(paths)


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    return path


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(3.6 * count, 2.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, count))
    figure.suptitle(title, fontsize=10)
    return figure, list(axes)


def _spacing_figure(fingerprint: Fingerprint, target_mm: tuple[float, ...]) -> Figure:
    figure, panels = _panels(3, "Spacing of all cases")
    for panel, axis, target in zip(panels, AXES, target_mm, strict=True):
        counts = fingerprint.block(f"spacing_{axis}")[0]
        bins = np.flatnonzero(counts)
        centres = np.sqrt(SPACING_MM.edges[bins] * SPACING_MM.edges[bins + 1])
        _histogram(panel, centres, counts[bins])
        _mark(panel, target, f"target {target:.5g} mm")
        panel.set(xlabel=f"{axis}, mm", ylabel="cases")
    return figure


def _shape_figure(shapes: ShapeSketch) -> Figure:
    figure, panels = _panels(3, "Shape of all cases at the target spacing")
    for panel, axis, counts, median in zip(
        panels, AXES, shapes.counts, shapes.median_vox(), strict=True
    ):
        sizes = np.flatnonzero(counts)
        _histogram(panel, sizes.astype(float), counts[sizes])
        _mark(panel, median, f"median {median:g}")
        panel.set(xlabel=f"{axis}, voxels", ylabel="cases")
    return figure


def _intensity_figure(plan: Plan, fingerprint: Fingerprint) -> Figure:
    channels = plan.task.channels
    figure, panels = _panels(len(channels), "Foreground intensity, each case with equal weight")
    for number, (panel, name) in enumerate(zip(panels, channels, strict=True)):
        _, weight, mean, _ = bin_moments(fingerprint.block(f"foreground_{number}"))
        known: Intensity = plan.intensity[number]
        _histogram(panel, mean, weight / weight.sum())
        _mark(panel, known.mean, f"mean {known.mean:.4g}")
        for edge in (known.percentile_00_5, known.percentile_99_5):
            panel.axvline(edge, color=_MARK, linewidth=0.8, linestyle=":")
        label = f"{printable(name)[:40]} (dotted: 0.5 % and 99.5 %)"
        panel.set_xlabel(label, parse_math=False)
        panel.set_ylabel("share of weight")
    return figure


def _histogram(panel: Axes, values: np.ndarray, weights: np.ndarray, bars: int = 40) -> None:
    panel.hist(values, bins=min(bars, max(len(values), 5)), weights=weights, color=_BAR)
    panel.tick_params(labelsize=7)


def _mark(panel: Axes, value: float, label: str) -> None:
    panel.axvline(value, color=_MARK, label=label)
    panel.legend(fontsize=7)
