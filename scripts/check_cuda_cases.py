"""Prepared cases that are made on the spot, and plans for them: blobs, and CT-like volumes.

They are written as a site writes its own, and need neither SimpleITK nor nibabel.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fednnunet.interop.case_list import CaseList, ListedCase, plan_what_if
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.preprocess.locations import class_locations
from fednnunet.preprocess.pipeline import Prepared, prepare_volume
from fednnunet.preprocess.store import Store
from fednnunet.preprocess.stored_case import write_case
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume

SPACING_MM = (1.5, 0.8, 0.8)
_CT = Intensity(
    mean=60.0, median=60.0, std=40.0, min=-200.0, max=300.0, percentile_00_5=-100.0,
    percentile_99_5=200.0,
)  # fmt: skip

Drawing = tuple[np.ndarray, np.ndarray]
"""Image int16 and labels int16, both (z, y, x)."""


def small_plan(*, labels: int, patch: tuple[int, int, int] = (16, 16, 16)) -> Plan:
    """A plan for tests: two stages of a few features, a batch of 2, `labels` with background."""
    names = ("background", *(f"label {i}" for i in range(1, labels)))
    stages = tuple(
        Stage(
            features=4 * (i + 1),
            kernel=(3, 3, 3),
            stride=(1 + (i > 0),) * 3,
            convs=1,
            decoder_convs=int(i < 2),
        )
        for i in range(3)
    )
    configuration = Configuration(
        name="3d_fullres",
        spacing_mm=SPACING_MM,
        patch_vox=patch,
        batch=2,
        median_shape_vox=(20.0, 24.0, 24.0),
        normalisation=("ct",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    task = Task(name="small", channels=("CT",), labels=names)
    return Plan(
        task=task, planner="plain", configurations=(configuration,), intensity=(_CT,), cases=8
    )


def ct_plan() -> Plan:
    """nnU-Net's plan for CT volumes of 512x512x200 with 3 classes, for 8 GiB."""
    cases = CaseList(
        name="ct",
        channels=("CT",),
        n_labels=2,
        cases=(ListedCase(spacing_mm=SPACING_MM, shape_vox=(200, 512, 512)),) * 8,
        intensity={"0": _CT},
    )
    plan = plan_what_if(cases).plan
    return Plan(
        task=plan.task,
        planner=plan.planner,
        configurations=tuple(c for c in plan.configurations if c.name == "3d_fullres"),
        intensity=plan.intensity,
        cases=plan.cases,
    )


def blob_cases(folder: Path, plan: Plan, *, count: int) -> Store:
    """Small cases of a ball in a ball, for learning something within few iterations."""
    return _write(folder, plan, count, lambda case: draw_ct((20, 24, 24), case))


def ct_cases(folder: Path, plan: Plan, shape: tuple[int, int, int], *, count: int) -> Store:
    """CT-like cases of that shape (z, y, x)."""
    return _write(folder, plan, count, lambda case: draw_ct(shape, case))


def draw_ct(shape: tuple[int, int, int], case: int) -> Drawing:
    """A body with an organ (1), a lesion in it (2) and noise, in Hounsfield units."""
    rng = np.random.default_rng(case)
    middle = [n / 2 + rng.uniform(-0.05, 0.05) * n for n in shape]
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    far = sum(((a - m) / n) ** 2 for a, m, n in zip(axes, middle, shape, strict=True))
    radius = rng.uniform(0.2, 0.28)
    labels = (far < radius**2).astype(np.int16) + (far < (radius / 2) ** 2)
    values = np.array([40, 100, 60], np.int16)
    image = np.where(far < 0.45**2, values[labels], np.int16(-1000))
    noise = rng.normal(0, 20, shape[1:]).astype(np.int16)
    for z in range(shape[0]):
        image[z] += np.roll(noise, (7 * z, 13 * z), (0, 1))
    return image, labels


def prepare(plan: Plan, drawing: Drawing) -> Prepared:
    """A drawing made ready by the plan."""
    image, labels = drawing
    volume = Volume(array=image[None], geometry=Geometry(spacing_mm=SPACING_MM))
    return prepare_volume(volume, plan, plan.configuration("3d_fullres"), labels)


def _write(folder: Path, plan: Plan, count: int, draw: Callable[[int], Drawing]) -> Store:
    def write(case: int) -> None:
        prepared = prepare(plan, draw(case))
        if prepared.seg is None:
            raise ValueError("a drawing without labels")
        write_case(
            folder,
            f"case{case}",
            prepared,
            key="drawn",
            patch_vox=plan.configuration("3d_fullres").patch_vox,
            locations=class_locations(prepared.seg, plan.task),
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(count)))
    return Store.open(folder)
