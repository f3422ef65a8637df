"""Made-up bundles of every kind of network, for the tests of export and import."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fednnunet.inference.bundle import Bundle, write_bundle
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.task import Task
from fednnunet.training.initial import plan_network

TASK = Task(name="Knee of sites", channels=("MRI",), labels=("background", "bone", "cartilage"))
REGIONS = Task(
    name="brain",
    channels=("T1", "T2"),
    labels=("background", "edema", "core", "enhancing"),
    regions={"whole": (1, 2, 3), "middle": (2, 3), "bright": (3,)},
    ignore=4,
)
INTENSITY = Intensity(
    mean=1.0, median=1.5, std=2.0, min=-3.0, max=9.0, percentile_00_5=-2.0, percentile_99_5=8.0
)
KINDS: dict[str, tuple[str, int, str]] = {
    "plain_3d": ("plain", 3, "instance"),
    "plain_2d": ("plain", 2, "instance"),
    "plain_3d_batch": ("plain", 3, "batch"),
    "residual_3d": ("residual", 3, "instance"),
    "residual_2d": ("residual", 2, "instance"),
}
"""Kind of encoder, number of axes and normalisation layer, by a name for the test."""


def make_plan(kind: str = "plain_3d", task: Task = TASK, **changes: Any) -> Plan:
    """A plan whose network has three stages, with strides and widths that all differ."""
    encoder, axes, norm = KINDS[kind]
    strides = ((1,) * axes, (1,) * (axes - 1) + (2,), (2,) * axes)
    stages = tuple(
        Stage(
            features=(4, 6, 6)[i],
            kernel=(3,) * axes,
            stride=strides[i],
            convs=(1, 2, 2)[i],
            decoder_convs=(2, 1, 0)[i],
        )
        for i in range(3)
    )
    patch = (8,) * axes
    channels = len(task.channels)
    configuration = Configuration(
        name="3d_fullres" if axes == 3 else "2d",
        spacing_mm=(2.0, 1.0, 1.0)[-axes:],
        patch_vox=patch,
        batch=2,
        median_shape_vox=tuple(float(p) for p in patch),
        normalisation=("zscore",) * channels,
        use_mask=(False,) * channels,
        architecture=Architecture(
            kind="plain" if encoder == "plain" else "residual", stages=stages
        ),
        batch_dice=False,
    )
    plan = Plan(
        task=task,
        planner="plain",
        configurations=(configuration,),
        intensity=(INTENSITY,) * channels,
        norm="instance" if norm == "instance" else "batch",
        cases=12,
    )
    return dataclasses.replace(plan, **changes)


def make_bundle(folder: Path, plan: Plan, *, seed: int = 0, mirrored: bool = True) -> Bundle:
    """A bundle with other random numbers in every tensor, statistics of batch norm included."""
    network = plan_network(plan, plan.configurations[0], seed=seed)
    torch.manual_seed(seed)
    weights = {
        name: torch.rand_like(t) if t.is_floating_point() else t + 3
        for name, t in network.state_dict().items()
    }
    return write_bundle(
        folder,
        plan=plan,
        configuration=plan.configurations[0].name,
        weights=weights,
        mirrored=mirrored,
    )


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON file in place."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_checkpoint(path: Path, change: Callable[[Any], None]) -> None:
    """Change a checkpoint in place."""
    data = torch.load(path, weights_only=True)
    change(data)
    torch.save(data, path)
