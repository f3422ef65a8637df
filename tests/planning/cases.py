"""Made-up cases for the planning tests."""

from __future__ import annotations

import numpy as np

from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.plan import Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.task import Task

TASK = Task(name="made up", channels=("T1", "CT"), labels=("background", "organ", "tumour"))


def make_case(seed: int, *, shape: tuple[int, int, int] = (40, 60, 50)) -> CaseFingerprint:
    rng = np.random.default_rng(seed)
    plane = round(float(rng.uniform(0.6, 1.4)), 4)
    foreground = [rng.normal(300, 60, 200), rng.normal(40, 90, 200).round()]
    z, y, x = (int(n) for n in rng.integers(-6, 7, 3) + shape)
    return CaseFingerprint(
        spacing_mm=(round(float(rng.uniform(1, 3)), 3), plane, plane),
        shape_vox=(z, y, x),
        crop_ratio=float(rng.uniform(0.5, 1)),
        foreground=tuple(ForegroundSketch.of_voxels(voxels) for voxels in foreground),
        voxels_per_label=(z * y * x - 200, 150, 50 * (seed % 2)),
    )


def make_cases(count: int, **settings: tuple[int, int, int]) -> list[CaseFingerprint]:
    return [make_case(seed, **settings) for seed in range(count)]


def exchanges(cases: list[CaseFingerprint]) -> tuple[Fingerprint, ShapeSketch]:
    fingerprint = Fingerprint.of(TASK, cases)
    pairs = [(case.spacing_mm, case.shape_vox) for case in cases]
    return fingerprint, ShapeSketch.of_cases(target_spacing(fingerprint), pairs)


def plan_of_cases(cases: list[CaseFingerprint], **settings: object) -> Plan:
    fingerprint, shapes = exchanges(cases)
    return make_plan(fingerprint, shapes, **settings)  # type: ignore[arg-type]
