"""Plan without images, from a list of spacings and shapes.

The list is split at random over any number of sites. The part of each site goes through the same
two exchanges of vectors as in a federation.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.histogram import SHAPE_BINS
from fednnunet.planning.plan import Intensity, Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.planning.validate import validate, validate_shapes
from fednnunet.task import MAX_LABELS, Task

_PLANNERS = {
    "ExperimentPlanner": "plain",
    "nnUNetPlannerResEncM": "resenc_m",
    "nnUNetPlannerResEncL": "resenc_l",
    "nnUNetPlannerResEncXL": "resenc_xl",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCase:
    """Spacing (z, y, x) and shape after the crop (z, y, x) of a case."""

    spacing_mm: tuple[float, float, float]
    shape_vox: tuple[int, int, int]

    def __post_init__(self) -> None:
        sane = all(1e-5 <= value <= 1e5 for value in self.spacing_mm)
        if not sane or not all(1 <= size < SHAPE_BINS for size in self.shape_vox):
            raise InputError(
                f"a case has spacing {list(self.spacing_mm)} and shape {list(self.shape_vox)}",
                mend=f"give spacings above 0, up to 1e5 mm, and shapes from 1 to {SHAPE_BINS - 1}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseList:
    """The inputs of planning for real or hypothetical cases."""

    name: str
    channels: tuple[str, ...]
    n_labels: int
    """Number of labels without the background."""
    cases: tuple[ListedCase, ...]
    median_crop_ratio: float = 1.0
    intensity: dict[str, Intensity] = field(default_factory=dict)
    """Foreground intensities by channel number."""
    planner: str | None = None
    """Planner that the list was made for, by nnU-Net's name or ours."""
    gpu_memory_gib: float | None = None
    """GPU memory that the list was made for."""

    def __post_init__(self) -> None:
        wrong = set(self.intensity) - {str(i) for i in range(len(self.channels))}
        if not self.cases or not 1 <= self.n_labels < MAX_LABELS or wrong:
            raise InputError(
                f"{len(self.cases)} cases, {self.n_labels} labels, intensity of unknown channels "
                f"{sorted(wrong)}",
                mend=f"list cases, 1 to {MAX_LABELS - 1} labels, and intensities by channel",
            )

    @property
    def task(self) -> Task:
        """A task with as many labels, named by numbers."""
        labels = ("background", *(f"label {i + 1}" for i in range(self.n_labels)))
        return Task(name=self.name, channels=self.channels, labels=labels)

    @property
    def planner_name(self) -> str:
        """The planner that the list was made for, by our name."""
        return _PLANNERS.get(self.planner or "", self.planner or "plain")


def read_case_list(path: Path) -> CaseList:
    """Read a case list; fields that planning does not use are ignored.

    "cases" may name another file of the same folder: `"as in other.json"`.
    """
    data = _load(path)
    if isinstance(data.get("cases"), str):
        data["cases"] = _load(path.parent / data["cases"].removeprefix("as in ")).get("cases")
    known = {f.name for f in dataclasses.fields(CaseList)}
    kept = {name: value for name, value in data.items() if name in known}
    for case in kept["cases"] if isinstance(kept.get("cases"), list) else []:
        for extra in set(case) - {"spacing_mm", "shape_vox"} if isinstance(case, dict) else ():
            del case[extra]
    return records.decode(CaseList, kept, source=str(path))


def fingerprints(cases: CaseList) -> list[CaseFingerprint]:
    """The listed cases as a site would measure them; intensities are not listed case by case."""
    task = cases.task
    empty = ForegroundSketch.of_voxels(np.zeros(0))
    return [
        CaseFingerprint(
            spacing_mm=case.spacing_mm,
            shape_vox=case.shape_vox,
            crop_ratio=cases.median_crop_ratio,
            foreground=(empty,) * len(task.channels),
            voxels_per_label=(0,) * len(task.labels),
        )
        for case in cases.cases
    ]


def split(count: int, sites: int, seed: int) -> list[list[int]]:
    """Case numbers of each site: at random, with at least one per site; raises InputError."""
    if not 1 <= sites <= count:
        raise InputError(
            f"{count} cases cannot be split over {sites} sites", mend=f"give 1 to {count} sites"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(count).tolist()
    cuts = np.sort(rng.choice(np.arange(1, count), sites - 1, replace=False)).tolist()
    bounds = [0, *cuts, count]
    return [order[a:b] for a, b in pairwise(bounds)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """A plan made from a case list, with the merged sums that it was made from."""

    plan: Plan
    fingerprint: Fingerprint
    shapes: ShapeSketch


def plan_what_if(
    cases: CaseList,
    *,
    sites: int = 1,
    seed: int = 0,
    planner: str | None = None,
    memory_gib: float | Sequence[float] | None = None,
) -> WhatIf:
    """Split the list over `sites`, exchange twice, plan. The split does not change the plan."""
    measured = fingerprints(cases)
    parts = [[measured[i] for i in part] for part in split(len(measured), sites, seed)]
    fingerprint = merge_fingerprints(cases.task, parts)
    shapes = merge_shapes(target_spacing(fingerprint), parts)
    intensity = tuple(cases.intensity.get(str(i), _unknown()) for i in range(len(cases.channels)))
    plan = make_plan(
        fingerprint,
        shapes,
        planner=planner or cases.planner_name,
        memory_gib=cases.gpu_memory_gib if memory_gib is None else memory_gib,
        intensity=intensity,
    )
    return WhatIf(plan=plan, fingerprint=fingerprint, shapes=shapes)


def merge_fingerprints(task: Task, parts: Sequence[Sequence[CaseFingerprint]]) -> Fingerprint:
    """First exchange: the vector of each site, checked and summed."""
    total = Fingerprint.empty(task)
    for number, part in enumerate(parts):
        site = f"site_{number + 1}"
        sent = Fingerprint.of(task, part).to_vector()
        received = Fingerprint.from_vector(task, sent, site=site)
        validate(received, site=site)
        total = total + received
    return total


def merge_shapes(
    spacing_mm: tuple[float, float, float], parts: Sequence[Sequence[CaseFingerprint]]
) -> ShapeSketch:
    """Second exchange: the vector of resampled shapes of each site, checked and summed."""
    total = ShapeSketch.empty(spacing_mm)
    for number, part in enumerate(parts):
        site = f"site_{number + 1}"
        pairs = [(case.spacing_mm, case.shape_vox) for case in part]
        sent = ShapeSketch.of_cases(spacing_mm, pairs).to_vector()
        received = ShapeSketch.from_vector(spacing_mm, sent, site=site)
        validate_shapes(received, site=site, cases=len(part))
        total = total + received
    return total


def _unknown() -> Intensity:
    """Intensities for a list that gives none: those of channels normalised by z-score."""
    return Intensity(
        mean=0.0, median=0.0, std=1.0, min=0.0, max=0.0, percentile_00_5=0.0, percentile_99_5=0.0
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path.name} is not readable JSON: {error}", where=str(path), mend="correct the file"
        ) from None
    if not isinstance(data, dict):
        raise InputError(
            f"{path.name} holds no table of fields",
            where=str(path),
            mend="write it like the lists in plans/examples",
        )
    return data
