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
from fednnunet.planning.bounds import READABLE
from fednnunet.planning.orientation import AS_STORED, ORIENTATIONS
from fednnunet.planning.seen import Seen
from fednnunet.task import Task

SCHEMA = 1

Normalisation = Literal["ct", "zscore", "rescale_to_0_1", "rgb_to_0_1", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One resolution of the encoder and the decoder."""

    features: int
    """Feature channels."""
    kernel: tuple[int, ...]
    """Kernel size per axis; odd."""
    stride: tuple[int, ...]
    """Stride of the first convolution per axis; all 1 in the first stage."""
    convs: int
    """Encoder convolutions, or residual blocks if the architecture is "residual"."""
    decoder_convs: int
    """Decoder convolutions; 0 at the coarsest stage, which has no decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A U-Net."""

    kind: Literal["plain", "residual"]
    """Encoder: plain convolutions or residual blocks. The decoder is plain in both."""
    stages: tuple[Stage, ...]
    """From the finest to the coarsest resolution; at least two."""

    def __post_init__(self) -> None:
        if len(self.stages) < 2:
            raise PlanError(
                "a U-Net needs at least two stages",
                mend="add a second stage to architecture.stages",
            )
        if len(self.stages) > READABLE.stages:
            raise PlanError(
                f"a U-Net has {len(self.stages)} stages",
                mend=f"give at most {READABLE.stages} stages",
            )
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
                    mend="give odd kernel sizes and strides of at least 1",
                )
            sizes_of = (*stage.kernel, *stage.stride, stage.convs, stage.decoder_convs)
            features, most = READABLE.features, READABLE.convolutions
            if stage.features > features or max(sizes_of) > most:
                raise PlanError(
                    f"stage {i} is larger than any network's",
                    mend=f"give at most {features} features and {most} of all else",
                )
            last = i == len(self.stages) - 1
            if stage.features < 1 or stage.convs < 1 or (stage.decoder_convs < 1) != last:
                raise PlanError(
                    f"stage {i} has {stage.features} features, {stage.convs} convs and "
                    f"{stage.decoder_convs} decoder_convs",
                    mend="give numbers of at least 1, and decoder_convs = 0 in the last stage only",
                )
        if any(s != 1 for s in self.stages[0].stride):
            raise PlanError(
                "the first stage must have stride 1", mend="set its stride to 1 along every axis"
            )

    @property
    def divisor(self) -> tuple[int, ...]:
        """The divisor of each axis of a patch: the product of the strides."""
        axes = zip(*(stage.stride for stage in self.stages), strict=True)
        return tuple(math.prod(strides) for strides in axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How volumes are resampled to the spacing of a configuration."""

    image_order: int = 3
    """Spline order for images: 3 is cubic."""
    label_order: int = 1
    """Spline order for the indicator of each label; the label with the largest value wins."""
    logits_order: int = 1
    """Spline order for logits that are resampled back to the image."""
    thick_axis_order: int = 0
    """Order along a thick axis: 0 takes the nearest slice."""
    anisotropy: float = 3.0
    """An axis is thick if its spacing exceeds the finest by more than this factor; it is then
    resampled separately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One resolution at which a network can be trained."""

    name: str
    """`2d`, `3d_fullres`, `3d_lowres`, `3d_cascade_fullres`, or a name of your own."""
    spacing_mm: tuple[float, ...]
    """Voxel size (z, y, x), or (y, x) in 2D."""
    patch_vox: tuple[int, ...]
    """Patch size (z, y, x), or (y, x) in 2D; divisible by the product of the strides."""
    batch: int
    """Patches per optimiser step."""
    median_shape_vox: tuple[float, ...]
    """Median shape of all cases at this spacing: (z, y, x), or (y, x) in 2D."""
    normalisation: tuple[Normalisation, ...]
    """Intensity normalisation of each channel."""
    use_mask: tuple[bool, ...]
    """Per channel, whether z-score uses only voxels inside the nonzero mask."""
    architecture: Architecture
    """The network."""
    batch_dice: bool
    """Whether the Dice loss is computed over the whole batch rather than per sample."""
    resampling: Resampling = Resampling()
    """How images, labels and logits are resampled."""
    previous: str | None = None
    """Configuration whose prediction is an additional input (nnU-Net's cascade), or null."""

    def __post_init__(self) -> None:
        axes = len(self.patch_vox)
        for part in ("spacing_mm", "median_shape_vox"):
            if len(getattr(self, part)) != axes:
                raise PlanError(
                    f"{part} of {self.name} needs {axes} values",
                    mend=f"give one value per axis of patch_vox, {axes} in all",
                )
        if len(self.architecture.stages[0].kernel) != axes:
            raise PlanError(
                f"the network of {self.name} does not have {axes} axes",
                mend="give kernels and strides as many numbers as patch_vox has",
            )
        if any(value <= 0 for value in (*self.spacing_mm, *self.patch_vox)):
            raise PlanError(
                f"{self.name} has a spacing or patch of 0 or less",
                mend="give a spacing_mm and a patch_vox above 0 along every axis",
            )
        divisor = self.architecture.divisor
        if any(p % d for p, d in zip(self.patch_vox, divisor, strict=True)):
            raise PlanError(
                f"patch {list(self.patch_vox)} of {self.name} is not divisible by its strides",
                mend=f"make it a multiple of {list(divisor)}, or change the strides",
            )
        edge_vox, spacing_mm = READABLE.patch_edge_vox, READABLE.spacing_mm
        if max(self.patch_vox) > edge_vox or max(self.spacing_mm) > spacing_mm:
            raise PlanError(
                f"{self.name} has a patch of {list(self.patch_vox)}",
                mend=f"give at most {edge_vox} voxels an axis, and spacings of at most "
                f"{spacing_mm:g} mm",
            )
        if not READABLE.min_batch <= self.batch <= READABLE.batch:
            raise PlanError(
                f"batch of {self.name} is {self.batch}",
                mend=f"give a batch of {READABLE.min_batch} to {READABLE.batch}",
            )

    @property
    def is_2d(self) -> bool:
        """Whether patches are slices."""
        return len(self.patch_vox) == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Foreground intensities of one channel over all sites, each case with the same weight."""

    mean: float
    """Mean."""
    median: float
    """Median."""
    std: float
    """Standard deviation."""
    min: float
    """Smallest intensity."""
    max: float
    """Largest intensity."""
    percentile_00_5: float
    """0.5 % percentile."""
    percentile_99_5: float
    """99.5 % percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """The reason for one decision."""

    decision: str
    """What was decided, with the name of the configuration if it concerns a single one."""
    because: str
    """The rule and the numbers that it was applied to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that the sites must agree on before they train."""

    schema: int = SCHEMA
    """Number of the file format."""
    task: Task
    """What is segmented."""
    planner: str
    """Name of the planner that made the plan; for information only."""
    configurations: tuple[Configuration, ...]
    """The resolutions at which a network can be trained."""
    intensity: tuple[Intensity, ...]
    """Foreground intensities of each channel; used for CT normalisation."""
    transpose: tuple[int, int, int] = (0, 1, 2)
    """Axes of a volume (0 is z) in the order of the plan."""
    orientation: str = AS_STORED
    """Orientation (axis code of nibabel, e.g. "RAS") into which volumes are turned on reading,
    before `transpose`; masks are turned back. "as stored" turns nothing, as nnU-Net does."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation layers of the network."""
    cases: int
    """Number of cases that the plan was made from, over all sites."""
    label_cases: dict[str, int] = field(default_factory=dict)
    """Number of cases in which each label occurs, over all sites."""
    site_labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The labels that each site annotates, as the federation file says."""
    seen: Seen | None = None
    """What the cases were like; null for plans that were not made from cases here."""
    reasons: tuple[Reason, ...] = ()
    """The reason for each decision."""

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise PlanError(
                f"the plan has schema {self.schema}, this program reads {SCHEMA}",
                mend="make the plan again with fednnunet_plan",
            )
        if sorted(self.transpose) != [0, 1, 2]:
            raise PlanError(
                f"transpose {list(self.transpose)} is no order of the axes 0, 1, 2",
                mend="list each of the axes 0, 1 and 2 once",
            )
        if self.orientation not in (AS_STORED, *ORIENTATIONS):
            raise PlanError(
                f"{self.orientation!r} is no orientation",
                mend=f"give an axis code such as RAS or LPS, or {AS_STORED!r}",
            )
        channels = len(self.task.channels)
        if len(self.intensity) != channels:
            raise PlanError(
                f"intensity has {len(self.intensity)} entries for {channels} channels",
                mend="give one entry for each channel of the task",
            )
        for configuration in self.configurations:
            if {len(configuration.normalisation), len(configuration.use_mask)} != {channels}:
                raise PlanError(
                    f"normalisation and use_mask of {configuration.name} need {channels} entries",
                    mend="give one entry for each channel of the task",
                )

    def configuration(self, name: str) -> Configuration:
        """The configuration with that name; raises PlanError, which lists all names."""
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
