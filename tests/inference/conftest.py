"""Small plans, networks and bundles for inference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fednnunet.device import Device
from fednnunet.inference.bundle import Bundle, write_bundle
from fednnunet.inference.compute import Compute
from fednnunet.network.unet import build_network
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ", "nodule"))


def make_plan(
    *,
    patch: tuple[int, ...] = (8, 8, 8),
    spacing: tuple[float, ...] = (1.5, 1.0, 1.0),
    task: Task = TASK,
    transpose: tuple[int, int, int] = (0, 1, 2),
) -> Plan:
    """A plan with a network of two small stages."""
    axes = len(patch)
    stages = tuple(
        Stage(
            features=4 * (i + 1),
            kernel=(3,) * axes,
            stride=(1 + i,) * axes,
            convs=1,
            decoder_convs=1 - i,
        )
        for i in range(2)
    )
    channels = len(task.channels)
    configuration = Configuration(
        name="3d_fullres" if axes == 3 else "2d",
        spacing_mm=spacing[-axes:],
        patch_vox=patch,
        batch=2,
        median_shape_vox=tuple(float(p) for p in patch),
        normalisation=("zscore",) * channels,
        use_mask=(False,) * channels,
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    intensity = Intensity(
        mean=0.0, median=0.0, std=1.0, min=0.0, max=1.0, percentile_00_5=0.0, percentile_99_5=1.0
    )
    return Plan(
        task=task,
        planner="plain",
        configurations=(configuration,),
        intensity=(intensity,) * channels,
        transpose=transpose,
        cases=3,
    )


def make_bundle(folder: Path, plan: Plan, *, seed: int = 0) -> Bundle:
    """A bundle with random weights."""
    torch.manual_seed(seed)
    configuration = plan.configurations[0]
    network = build_network(
        configuration.architecture,
        channels=len(plan.task.channels),
        heads=plan.task.heads,
        norm=plan.norm,
    )
    return write_bundle(
        folder,
        plan=plan,
        configuration=configuration.name,
        weights=network.state_dict(),
        note={"method": "test"},
    )


@pytest.fixture
def compute() -> Compute:
    return Compute(device=Device(channels_last=False))


@pytest.fixture
def new_plan() -> Callable[..., Plan]:
    return make_plan


@pytest.fixture
def new_bundle() -> Callable[..., Bundle]:
    return make_bundle
