"""A store in memory, and a small plan, for tests of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fednnunet.device import Device
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.task import Task
from fednnunet.training.augment import make_augmenter
from fednnunet.training.batches import BatchSource
from fednnunet.training.device import Execution
from fednnunet.training.local_job import LocalJob
from fednnunet.training.recipe import RECIPES, Augmentation
from fednnunet.training.state import TrainingState
from fednnunet.training.summary import TrainSummary
from fednnunet.training.trainer import train

CPU = Execution(device=Device(), fused=False)


@dataclass
class MemoryCase:
    """A prepared case held in memory: `data` (c, z, y, x), `seg` (z, y, x)."""

    data: np.ndarray
    seg: np.ndarray
    ignore: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.seg.shape
        return z, y, x

    @property
    def channels(self) -> int:
        return len(self.data)

    @property
    def locations(self) -> dict[int, np.ndarray]:
        found = {int(v): np.argwhere(self.seg == v) for v in np.unique(self.seg) if v > 0}
        if self.ignore is not None:
            found.pop(self.ignore, None)
            found[-1] = np.argwhere(self.seg != self.ignore)
        return found

    def read(self, low: Sequence[int], high: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        box = tuple(
            slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, self.shape, strict=True)
        )
        return self.data[(slice(None), *box)], self.seg[box]


@dataclass
class MemoryStore:
    cases: dict[str, MemoryCase] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.cases))

    def case(self, name: str) -> MemoryCase:
        return self.cases[name]


def small_task(**changes: object) -> Task:
    values: dict = {
        "name": "blobs",
        "channels": ("MRI",),
        "labels": ("background", "outer", "inner"),
    }
    return Task(**{**values, **changes})


def small_architecture(*, axes: int = 3, kind: str = "plain", features: Sequence[int] = (4, 8)):
    last = len(features) - 1
    stages = tuple(
        Stage(
            features=width,
            kernel=(3,) * axes,
            stride=(1 if i == 0 else 2,) * axes,
            convs=1,
            decoder_convs=0 if i == last else 1,
        )
        for i, width in enumerate(features)
    )
    return Architecture(kind=kind, stages=stages)


def small_plan(
    *,
    task: Task | None = None,
    patch: Sequence[int] = (8, 8, 8),
    batch: int = 2,
    batch_dice: bool = False,
    norm: str = "instance",
    kind: str = "plain",
    features: Sequence[int] = (4, 8),
    use_mask: bool = False,
) -> tuple[Plan, Configuration]:
    task = task or small_task()
    channels = len(task.channels)
    configuration = Configuration(
        name="3d_fullres" if len(patch) == 3 else "2d",
        spacing_mm=(1.0,) * len(patch),
        patch_vox=tuple(patch),
        batch=batch,
        median_shape_vox=(12.0,) * len(patch),
        normalisation=("zscore",) * channels,
        use_mask=(use_mask,) * channels,
        architecture=small_architecture(axes=len(patch), kind=kind, features=features),
        batch_dice=batch_dice,
    )
    ranges = Intensity(
        mean=0, median=0, std=1, min=-1, max=1, percentile_00_5=-1, percentile_99_5=1
    )
    plan = Plan(
        task=task,
        planner="plain",
        configurations=(configuration,),
        intensity=(ranges,) * channels,
        norm=norm,
        cases=4,
    )
    return plan, configuration


def blobs(count: int = 3, *, shape: Sequence[int] = (12, 11, 13), channels: int = 1, seed: int = 0):
    """Cases with a bright ball (label 2) in a dim one (label 1)."""
    rng = np.random.default_rng(seed)
    cases = {}
    for index in range(count):
        centre = [n / 2 + rng.uniform(-1, 1) for n in shape]
        grid = np.indices(shape)
        far = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        seg = (far < 4.0).astype(np.int16) + (far < 2.5)
        data = seg[None] + rng.normal(0, 0.3, (channels, *shape))
        cases[f"case{index}"] = MemoryCase(data.astype(np.float32), seg.astype(np.int16))
    return MemoryStore(cases)


def a_job(**changes: object) -> LocalJob:
    """A job on `blobs` with a small plan and the recipe "fast"; `changes` replace its fields."""
    plan, configuration = small_plan()
    store = changes.get("store") or blobs()
    values: dict = {
        "store": store,
        "names": store.names,
        "plan": plan,
        "configuration": configuration,
        "recipe": RECIPES["fast"],
        "iterations": 1,
        "schedule_length": 4,
    }
    return LocalJob(**{**values, **changes})


def source(**changes: object) -> BatchSource:
    """Batches of 3 patches of the three cases of `blobs`; `changes` replace fields."""
    values: dict = {
        "store": blobs(),
        "names": ("case0", "case1", "case2"),
        "task": small_task(),
        "augmenter": make_augmenter((8, 8, 8), (False,), Augmentation()),
        "size": 3,
        "foreground": 0.33,
        "seed": 1,
    }
    return BatchSource(**{**values, **changes})


def names_of(state: TrainingState, chosen) -> frozenset[str]:
    """The names of the parameters for which `chosen(name)` holds."""
    return frozenset(name for name in state.parameters if chosen(name))


def train_on_cpu(state: TrainingState, **changes: object) -> TrainSummary:
    """Train on the job that `a_job` makes of `changes`."""
    return train(state, a_job(**changes), CPU)
