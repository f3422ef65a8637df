"""Bounds on what a site computes for a plan that somebody else has made.

They are tighter than those of any plan that can be read (`planning.bounds` has both).

A plan decides what a site's machine does and what its updates can reveal. With a kernel larger than
its map, a batch of one and no normalisation, crafted weights return a training patch exactly, so a
site refuses a plan that no planner of ours or nnU-Net's would make.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from fednnunet.errors import FedNNUNetError, PlanError, raise_all
from fednnunet.planning.bounds import ACCEPTED
from fednnunet.planning.intensity import normalisation_of
from fednnunet.planning.memory import training_gib
from fednnunet.planning.plan import Configuration, Plan

MAX_TRAINING_GIB = 512.0
MAX_CONFIGURATIONS = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_limits(plan: Plan) -> None:
    """Raise PlanError (or `ManyFaults` of them) where a plan is out of bounds for any site."""
    faults: list[FedNNUNetError] = []
    if len(plan.configurations) > MAX_CONFIGURATIONS:
        faults.append(
            _fault(
                f"the plan has {len(plan.configurations)} configurations",
                f"a plan has at most {MAX_CONFIGURATIONS}",
            )
        )
    expected = tuple(normalisation_of(channel) for channel in plan.task.channels)
    for configuration in plan.configurations:
        faults += _of_configuration(configuration, expected)
        if not faults and training_gib(configuration, plan.task) > MAX_TRAINING_GIB:
            faults.append(
                _fault(
                    f"training {configuration.name} needs more than {MAX_TRAINING_GIB:g} GiB",
                    "make the plan with a smaller memory_gib",
                )
            )
    raise_all("the site does not accept the plan", faults)


def _of_configuration(
    configuration: Configuration, normalisation: tuple[str, ...]
) -> Iterator[PlanError]:
    name, patch = configuration.name, configuration.patch_vox
    if not _NAME.fullmatch(name):
        yield _fault(
            f"{name[:80]!r} is no name of a configuration",
            "use letters, digits, dots, - and _, beginning with a letter or digit",
        )
    if configuration.batch < ACCEPTED.min_batch:
        yield _fault(
            f"the batch of {name} is {configuration.batch}",
            f"a site trains with batches of at least {ACCEPTED.min_batch} patches",
        )
    if max(patch) > ACCEPTED.patch_edge_vox:
        yield _fault(
            f"the patch of {name} is {list(patch)} voxels",
            f"a site trains with patches of at most {ACCEPTED.patch_edge_vox} voxels an axis",
        )
    low, high = ACCEPTED.min_spacing_mm, ACCEPTED.spacing_mm
    if not all(low <= value <= high for value in configuration.spacing_mm):
        yield _fault(
            f"the spacing of {name} is {list(configuration.spacing_mm)} mm",
            f"a spacing lies between {low:g} and {high:g} mm",
        )
    if configuration.normalisation != normalisation:
        yield _fault(
            f"{name} normalises the channels by {list(configuration.normalisation)}",
            f"the task's channels ask for {list(normalisation)}",
        )
    yield from _of_network(configuration)


def _of_network(configuration: Configuration) -> Iterator[PlanError]:
    stages = configuration.architecture.stages
    if len(stages) > ACCEPTED.stages:
        yield _fault(
            f"the network of {configuration.name} has {len(stages)} stages",
            f"a network has at most {ACCEPTED.stages} stages",
        )
    size = list(configuration.patch_vox)
    for number, stage in enumerate(stages):
        size = [edge // stride for edge, stride in zip(size, stage.stride, strict=True)]
        where = f"stage {number} of {configuration.name}"
        if any(kernel > edge for kernel, edge in zip(stage.kernel, size, strict=True)):
            yield _fault(
                f"{where} has a kernel of {list(stage.kernel)} on a map of {size}",
                "a kernel is at most as large as the map that it is applied to",
            )
        convolutions = max(stage.convs, stage.decoder_convs)
        if stage.features > ACCEPTED.features or convolutions > ACCEPTED.convolutions:
            yield _fault(
                f"{where} has {stage.features} features, {stage.convs} convolutions in the encoder "
                f"and {stage.decoder_convs} in the decoder",
                f"a stage has at most {ACCEPTED.features} features and {ACCEPTED.convolutions} "
                "convolutions",
            )
    if math.prod(size) < 1:
        yield _fault(
            f"the patch of {configuration.name} shrinks to {size} in the last stage",
            "use fewer stages or a larger patch",
        )


def _fault(what: str, mend: str) -> PlanError:
    return PlanError(what, where="the plan", mend=mend)
