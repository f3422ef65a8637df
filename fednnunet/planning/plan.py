"""The plan: every decision that all sites share, as one frozen value and one JSON file.

All axes are in the order (z, y, x) *after* `Plan.transpose` has been applied to a volume's axes;
for a 2D configuration the first of them is dropped from patch, spacing, kernels and strides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fednnunet import records
from fednnunet.errors import PlanError
from fednnunet.task import Task

SCHEMA = 1
MOST_STAGES, MOST_FEATURES, MOST_OF_A_STAGE = 16, 2048, 64
MOST_PATCH, MOST_BATCH = 4096, 4096

Normalisation = Literal["ct", "zscore", "rescale_to_0_1", "rgb_to_0_1", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One resolution of the encoder.

    `stride` leads into the stage (all ones for the first). `convs` counts the encoder's
    convolutions, or its residual blocks where `Architecture.kind` is "residual"; `decoder_convs`
    those of the decoder at this resolution (0 at the lowest, which has no decoder).
    """

    features: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    convs: int
    decoder_convs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A U-Net from the finest to the coarsest stage."""

    kind: Literal["plain", "residual"]
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if len(self.stages) < 2:
            raise PlanError("a U-Net needs at least two stages", mend="add a stage")
        if len(self.stages) > MOST_STAGES:
            raise PlanError(f"a U-Net of {len(self.stages)} stages", mend=f"at most {MOST_STAGES}")
        for i, stage in enumerate(self.stages):
            sizes = {len(stage.kernel), len(stage.stride), len(self.stages[0].kernel)}
            if len(sizes) > 1 or not sizes <= {2, 3}:
                raise PlanError(
                    f"stage {i} has kernel {list(stage.kernel)} and stride {list(stage.stride)}",
                    mend="give one number per axis, the same number of axes in all stages",
                )
            if any(k % 2 == 0 or k < 1 for k in stage.kernel) or any(s < 1 for s in stage.stride):
                raise PlanError(
                    f"stage {i} has kernel {list(stage.kernel)} and stride {list(stage.stride)}",
                    mend="kernels must be odd and strides at least 1",
                )
            sizes_of = (*stage.kernel, *stage.stride, stage.convs, stage.decoder_convs)
            if stage.features > MOST_FEATURES or max(sizes_of) > MOST_OF_A_STAGE:
                raise PlanError(
                    f"stage {i} is larger than any network's",
                    mend=f"at most {MOST_FEATURES} features, {MOST_OF_A_STAGE} for all else",
                )
            last = i == len(self.stages) - 1
            if stage.features < 1 or stage.convs < 1 or (stage.decoder_convs < 1) != last:
                raise PlanError(
                    f"stage {i} has {stage.features} features, {stage.convs} convs and "
                    f"{stage.decoder_convs} decoder_convs",
                    mend="all must be at least 1, but decoder_convs of the last stage is 0",
                )
        if any(s != 1 for s in self.stages[0].stride):
            raise PlanError("the first stage must have stride 1", mend="set it to ones")

    @property
    def divisor(self) -> tuple[int, ...]:
        """What each axis of a patch must be divisible by: the product of the strides."""
        axes = zip(*(stage.stride for stage in self.stages), strict=True)
        return tuple(math.prod(strides) for strides in axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How volumes reach the configuration's spacing.

    Spline orders for images, labels (on each label's indicator) and exported logits, and the order
    along a thick axis, which is handled apart where spacing differs by more than
    `anisotropy` between axes.
    """

    image_order: int = 3
    label_order: int = 1
    logits_order: int = 1
    thick_axis_order: int = 0
    anisotropy: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One resolution at which a network can be trained.

    `spacing_mm`, `patch_vox` and `median_shape_vox` are (z, y, x), or (y, x) for 2D.
    `normalisation` and `use_mask` have one entry per channel. `previous` names the configuration
    whose prediction is an extra input (the cascade), or is null.
    """

    name: str
    spacing_mm: tuple[float, ...]
    patch_vox: tuple[int, ...]
    batch: int
    median_shape_vox: tuple[float, ...]
    normalisation: tuple[Normalisation, ...]
    use_mask: tuple[bool, ...]
    architecture: Architecture
    batch_dice: bool
    resampling: Resampling = Resampling()
    previous: str | None = None

    def __post_init__(self) -> None:
        axes = len(self.patch_vox)
        for part in ("spacing_mm", "median_shape_vox"):
            if len(getattr(self, part)) != axes:
                raise PlanError(f"{part} of {self.name} needs {axes} values", mend="one per axis")
        if len(self.architecture.stages[0].kernel) != axes:
            raise PlanError(f"the network of {self.name} has not {axes} axes", mend="match patch")
        if any(value <= 0 for value in (*self.spacing_mm, *self.patch_vox)):
            raise PlanError(f"{self.name} has a spacing or patch of 0 or less", mend="correct it")
        divisor = self.architecture.divisor
        if any(p % d for p, d in zip(self.patch_vox, divisor, strict=True)):
            raise PlanError(
                f"patch {list(self.patch_vox)} of {self.name} is not divisible by its strides",
                mend=f"make it a multiple of {list(divisor)}, or change the strides",
            )
        if max(self.patch_vox) > MOST_PATCH or max(self.spacing_mm) > 1e5:
            raise PlanError(
                f"{self.name} has a patch of {list(self.patch_vox)}",
                mend=f"at most {MOST_PATCH} voxels an axis, and spacings of at most 1e5 mm",
            )
        if not 1 <= self.batch <= MOST_BATCH:
            raise PlanError(f"batch of {self.name} is {self.batch}", mend=f"from 1 to {MOST_BATCH}")

    @property
    def is_2d(self) -> bool:
        """Whether patches are slices."""
        return len(self.patch_vox) == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Foreground intensities of one channel over the federation, each case weighing the same."""

    mean: float
    median: float
    std: float
    min: float
    max: float
    percentile_00_5: float
    percentile_99_5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a decision was taken: which one, by what rule, in words with the numbers."""

    decision: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that sites must agree on before they train.

    `intensity` has one entry per channel. `transpose` lists the axes (0 = z) of a volume in the
    plan's order. `norm` is the network's normalisation layer. `cases` counts those planned from,
    `label_cases` those in which each label occurs, over all sites; `site_labels` names the labels
    that each site annotates, as the federation file says.
    """

    schema: int = SCHEMA
    task: Task
    planner: str
    configurations: tuple[Configuration, ...]
    intensity: tuple[Intensity, ...]
    transpose: tuple[int, int, int] = (0, 1, 2)
    norm: Literal["instance", "batch"] = "instance"
    cases: int
    label_cases: dict[str, int] = field(default_factory=dict)
    site_labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise PlanError(
                f"the plan has schema {self.schema}, this program reads {SCHEMA}",
                mend="make the plan anew with fednnunet_plan",
            )
        if sorted(self.transpose) != [0, 1, 2]:
            raise PlanError(f"transpose {list(self.transpose)} is no order of the axes 0, 1, 2")
        channels = len(self.task.channels)
        if len(self.intensity) != channels:
            raise PlanError(f"intensity needs {channels} entries, one per channel")
        for configuration in self.configurations:
            if {len(configuration.normalisation), len(configuration.use_mask)} != {channels}:
                raise PlanError(
                    f"normalisation and use_mask of {configuration.name} need {channels} entries",
                    mend="one per channel",
                )

    def configuration(self, name: str) -> Configuration:
        """The configuration of that name; raises PlanError naming those there are."""
        for configuration in self.configurations:
            if configuration.name == name:
                return configuration
        names = ", ".join(c.name for c in self.configurations)
        raise PlanError(
            f"the plan has no configuration {name!r}",
            where="plan.json, $.configurations",
            mend=f"choose one of: {names}",
        )


def read_plan(path: Path) -> Plan:
    """Read and check `plan.json`."""
    return records.read(Plan, path)
