"""The target spacing and the order of the axes (rules C of nnU-Net v2)."""

from __future__ import annotations

from fednnunet.errors import PlanError
from fednnunet.planning.fingerprint import AXES, Fingerprint
from fednnunet.planning.histogram import SPACING_MM, integer_median, percentile
from fednnunet.planning.orientation import (
    AS_STORED,
    CANONICAL,
    ORIENTATIONS,
    axes_between,
    chosen_orientation,
)
from fednnunet.planning.plan import Reason

ANISOTROPY = 3.0


def target_spacing(fingerprint: Fingerprint) -> tuple[float, float, float]:
    """Spacing (z, y, x) in mm of the full resolution, along the axes that cases are measured in.

    It is chosen along the axes of the plan's orientation.
    """
    axes = plan_axes(fingerprint)
    target = explain_spacing(fingerprint.in_order(axes))[0]
    return _triple([target[axes.index(axis)] for axis in range(3)])


def plan_axes(fingerprint: Fingerprint) -> tuple[int, int, int]:
    """For each axis (z, y, x) of the plan's orientation, the axis that cases are measured along."""
    return axes_between(CANONICAL, chosen_orientation(fingerprint.block("orientation").tolist()))[0]


def explain_orientation(fingerprint: Fingerprint) -> tuple[str, Reason]:
    """The orientation into which volumes are turned, and why."""
    counts = fingerprint.block("orientation").tolist()
    chosen = chosen_orientation(counts)
    found = {code: int(n) for code, n in zip(ORIENTATIONS, counts, strict=False) if n}
    numbers = ", ".join(f"{code} in {found[code]}" for code in sorted(found, key=found.__getitem__))
    because = "no volume states its orientation, so all are used as they are stored"
    if chosen != AS_STORED:
        because = f"{chosen}, the most frequent one ({numbers} cases)"
        because += "; others are permuted and flipped on reading" if len(found) > 1 else ""
    return chosen, Reason(decision="orientation", because=because)


def median_spacing(fingerprint: Fingerprint) -> tuple[float, float, float]:
    """Median spacing (z, y, x) in mm."""
    z, y, x = (percentile(fingerprint.block(f"spacing_{a}"), SPACING_MM, 50) for a in AXES)
    return (z, y, x)


def median_shape(fingerprint: Fingerprint) -> tuple[float, float, float]:
    """Median shape (z, y, x) in voxels after the crop, before resampling."""
    z, y, x = (integer_median(fingerprint.block(f"shape_{a}")) for a in AXES)
    return (z, y, x)


def explain_spacing(fingerprint: Fingerprint) -> tuple[tuple[float, float, float], Reason]:
    """The target spacing and why. Raises PlanError for a fingerprint of no cases."""
    if fingerprint.cases < 1:
        raise PlanError("there are no cases to plan from", mend="add at least one training case")
    target = list(median_spacing(fingerprint))
    shape = median_shape(fingerprint)
    worst = max(range(3), key=lambda axis: target[axis])
    others = [axis for axis in range(3) if axis != worst]
    coarsest = max(target[axis] for axis in others)
    thick = target[worst] > ANISOTROPY * coarsest
    few = shape[worst] * ANISOTROPY < min(shape[axis] for axis in others)
    numbers = (
        f"median spacing {_mm(target)} mm, median shape {_vox(shape)} voxels before resampling "
        "(z, y, x)"
    )
    if not (thick and few):
        because = (
            f"the median of each axis ({numbers}); no axis is anisotropic, that is more than "
            f"{ANISOTROPY:g} times as coarse as the others and with less than 1/{ANISOTROPY:g} of "
            "their voxels"
        )
        return _triple(target), Reason(decision="target spacing", because=because)
    finer = percentile(fingerprint.block(f"spacing_{AXES[worst]}"), SPACING_MM, 10)
    target[worst] = finer if finer >= coarsest else coarsest + 1e-5
    because = (
        f"{numbers}. Axis {AXES[worst]} is anisotropic: more than {ANISOTROPY:g} times as coarse "
        f"as the others and with less than 1/{ANISOTROPY:g} of their voxels. Its target is "
        f"therefore the 10th percentile, {finer:.6g} mm, instead of the median, but not finer than "
        f"the other axes ({coarsest:.6g} mm): {target[worst]:.6g} mm"
    )
    return _triple(target), Reason(decision="target spacing", because=because)


def axis_order(target_mm: tuple[float, ...]) -> tuple[int, int, int]:
    """The coarsest axis first (on ties, the first one), the others in their order."""
    worst = max(range(3), key=lambda axis: target_mm[axis])
    rest = [axis for axis in range(3) if axis != worst]
    return (worst, rest[0], rest[1])


def _triple(values: list[float]) -> tuple[float, float, float]:
    z, y, x = values
    return (z, y, x)


def _mm(values: list[float]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _vox(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
