"""From merged statistics to the plan, by the rules of nnU-Net v2. A pure function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median_low

from fednnunet.errors import PlanError
from fednnunet.planning.configuration import MemoryBudget, Sized, size_configuration
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.intensity import (
    label_reason,
    normalisation_of,
    plan_intensity,
    plan_mask_use,
)
from fednnunet.planning.memory import output_channels
from fednnunet.planning.plan import Configuration, Intensity, Normalisation, Plan, Reason
from fednnunet.planning.presets import PLANNERS, Planner, find_planner
from fednnunet.planning.seen import seen_ranges
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import axis_order, explain_orientation, explain_spacing, plan_axes

__all__ = ["PLANNERS", "make_plan"]

_LOWRES_BELOW = 0.25  # if the patch covers less of the median shape, plan a lower resolution
_LOWRES_STEP = 1.03
_LOWRES_GAIN = 2.0  # a lower resolution must have at most half of the voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """The inputs of all configurations of a plan; axes in the plan's order."""

    budget: MemoryBudget
    spacing_mm: tuple[float, ...]
    median_vox: tuple[float, ...]
    cases: int


def make_plan(
    fingerprint: Fingerprint,
    shapes: ShapeSketch,
    *,
    planner: str = "plain",
    memory_gib: float | Sequence[float] | None = None,
    intensity: tuple[Intensity, ...] | None = None,
    site_labels: dict[str, tuple[str, ...]] | None = None,
) -> Plan:
    """Plan for all cases in `fingerprint` and `shapes` (first and second exchange).

    `memory_gib` is one number or one per site (default: the planner's own target). The patch fits
    the smallest site, the batch at least half of them; the others accumulate gradients. `intensity`
    replaces the merged one (without images); `site_labels` is what each site annotates. PlanError.
    """
    task, chosen = fingerprint.task, find_planner(planner)
    orientation, orientation_why = explain_orientation(fingerprint)
    axes = plan_axes(fingerprint)
    turned, shapes = fingerprint.in_order(axes), shapes.in_order(axes)
    target, spacing_why = explain_spacing(turned)
    _check_exchanges(fingerprint, shapes, target)
    order = axis_order(target)
    budget, memory_why = _memory_budget(chosen, memory_gib, output_channels(task))
    median = shapes.median_vox()
    inputs = _Inputs(
        budget=budget,
        spacing_mm=tuple(target[axis] for axis in order),
        median_vox=tuple(median[axis] for axis in order),
        cases=fingerprint.cases,
    )
    normalisation = tuple(normalisation_of(channel) for channel in task.channels)
    use_mask, mask_why = plan_mask_use(fingerprint, normalisation)
    intensity_why = None
    if not intensity:
        intensity, intensity_why = plan_intensity(fingerprint, normalisation)
    found, reasons = _configurations(inputs)
    configurations = tuple(
        _finish(sized, name, median, batch_dice, previous, normalisation, use_mask)
        for name, sized, median, batch_dice, previous in found
    )
    common = (
        orientation_why,
        spacing_why,
        *_axes_and_shape_why(order, target, median, fingerprint.cases),
        mask_why,
        memory_why,
    )
    return Plan(
        task=task,
        planner=planner,
        configurations=configurations,
        intensity=intensity,
        transpose=order,
        orientation=orientation,
        cases=fingerprint.cases,
        label_cases=fingerprint.label_cases(),
        site_labels=site_labels or {},
        seen=seen_ranges(turned, shapes),
        reasons=(*common, *reasons, *filter(None, (intensity_why, label_reason(fingerprint)))),
    )


def _check_exchanges(
    fingerprint: Fingerprint, shapes: ShapeSketch, target: tuple[float, ...]
) -> None:
    if shapes.spacing_mm != target:
        raise PlanError(
            f"shapes were counted at {list(shapes.spacing_mm)} mm, the target is {list(target)} mm",
            mend="ask the sites again for their shapes at the target spacing",
        )
    if shapes.cases != fingerprint.cases:
        raise PlanError(
            f"the first exchange counted {fingerprint.cases} cases, the second {shapes.cases}",
            mend="plan again, with the same sites answering both exchanges",
        )


def _memory_budget(
    planner: Planner, memory_gib: float | Sequence[float] | None, outputs: int
) -> tuple[MemoryBudget, Reason]:
    default = planner.budget_3d.memory_gib
    given = [memory_gib] if isinstance(memory_gib, (int, float)) else list(memory_gib or [])
    if any(not 0 < gib < math.inf for gib in given):
        raise PlanError(
            f"memory_gib is {given}", mend="give memory_gib as numbers of GiB above 0, e.g. 8"
        )
    if planner.fixed or not given:
        smallest = typical = default
        why = f"{default:g} GiB, the target of this planner"
        why += "; memory_gib does not change its network" if given else ""
    else:
        smallest, typical = min(given), median_low(given)
        why = (
            f"the patch fits into {smallest:g} GiB, the memory of the smallest site; the batch "
            f"fits into {typical:g} GiB, which at least half of the sites have; the other sites "
            "reach this batch by accumulating gradients"
        )
    budget = MemoryBudget(planner=planner, patch_gib=smallest, batch_gib=typical, outputs=outputs)
    return budget, Reason(decision="memory", because=why)


_Found = tuple[str, Sized, tuple[float, ...], bool, str | None]


def _configurations(inputs: _Inputs) -> tuple[list[_Found], list[Reason]]:
    """All configurations in nnU-Net's order: name, size, median shape, batch Dice, previous."""
    voxels = math.prod(inputs.median_vox) * inputs.cases
    flat = size_configuration(inputs.budget, inputs.spacing_mm[1:], inputs.median_vox[1:], voxels)
    found: list[_Found] = [("2d", flat, inputs.median_vox[1:], True, None)]
    reasons = _named("2d", flat)
    if inputs.median_vox[0] == 1:
        why = "not planned, since the median case has a single slice"
        return found, [*reasons, Reason(decision="3d_fullres", because=why)]
    full = size_configuration(inputs.budget, inputs.spacing_mm, inputs.median_vox, voxels)
    low, low_median, why = _lowres(inputs, full)
    if low:
        found.append(("3d_lowres", low, low_median, False, None))
        reasons += _named("3d_lowres", low)
    found.append(("3d_fullres", full, inputs.median_vox, low is not None, None))
    if low:
        found.append(("3d_cascade_fullres", full, inputs.median_vox, True, "3d_lowres"))
    reasons += [*_named("3d_fullres", full), Reason(decision="3d_lowres", because=why)]
    dice = (
        "the Dice loss is summed over the batch in 2d, and in 3d_fullres if there is a 3d_lowres; "
        "otherwise it is computed per sample"
    )
    return found, [*reasons, Reason(decision="batch Dice", because=dice)]


def _lowres(inputs: _Inputs, full: Sized) -> tuple[Sized | None, tuple[float, ...], str]:
    """A coarser configuration whose patch covers enough of the median shape, if one is needed."""
    spacing, median = list(inputs.spacing_mm), inputs.median_vox
    whole = now = math.prod(median)
    share = first = math.prod(full.patch_vox) / whole
    low, low_median = None, median
    while share < _LOWRES_BELOW:
        coarsest = max(spacing)
        fine = [coarsest / s > 2 for s in spacing]
        spacing = [
            s * _LOWRES_STEP if f or not any(fine) else s
            for s, f in zip(spacing, fine, strict=True)
        ]
        edges = [a / b * m for a, b, m in zip(inputs.spacing_mm, spacing, median, strict=True)]
        now = math.prod(edges)
        low_median = tuple(float(round(edge)) for edge in edges)
        low = size_configuration(inputs.budget, spacing, low_median, now * inputs.cases)
        share = math.prod(low.patch_vox) / now
    why = f"the patch of 3d_fullres covers {first:.1%} of the median shape"
    if low is None:
        return None, median, f"{why}; from {_LOWRES_BELOW:.0%} on, no lower resolution is needed"
    why += f", less than {_LOWRES_BELOW:.0%}"
    if whole / now < _LOWRES_GAIN:
        return (
            None,
            median,
            f"{why}, but the lower resolution would still have more than half of the voxels, so "
            "it is left out",
        )
    text = " x ".join(f"{s:.4g}" for s in spacing)
    return (
        low,
        low_median,
        f"{why}, so the spacing was raised in steps of 3 % to {text} mm, where the patch covers "
        f"{share:.1%}",
    )


def _finish(
    sized: Sized,
    name: str,
    median_vox: tuple[float, ...],
    batch_dice: bool,
    previous: str | None,
    normalisation: tuple[Normalisation, ...],
    use_mask: tuple[bool, ...],
) -> Configuration:
    return Configuration(
        name=name,
        spacing_mm=sized.spacing_mm,
        patch_vox=sized.patch_vox,
        batch=sized.batch,
        median_shape_vox=tuple(float(edge) for edge in median_vox),
        normalisation=normalisation,
        use_mask=use_mask,
        architecture=sized.architecture,
        batch_dice=batch_dice,
        previous=previous,
    )


def _named(name: str, sized: Sized) -> list[Reason]:
    return [replace(r, decision=f"{name}: {r.decision}") for r in sized.reasons]


def _axes_and_shape_why(
    order: tuple[int, ...], target: tuple[float, ...], median: tuple[float, ...], cases: int
) -> tuple[Reason, Reason]:
    names = ", ".join("zyx"[axis] for axis in order)
    axes = f"{names}: the coarsest axis ({max(target):.6g} mm) first, the others in their order"
    edges = " x ".join(f"{edge:g}" for edge in median)
    shape = (
        f"{edges} voxels (z, y, x), the median of each axis over {cases} cases resampled to the "
        "target spacing"
    )
    return Reason(decision="axes", because=axes), Reason(decision="median shape", because=shape)
