"""The planners by name: the memory and the network that each plans for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fednnunet.errors import PlanError
from fednnunet.planning.memory import PLAIN_2D, PLAIN_3D, RESIDUAL_2D, RESIDUAL_3D, Budget
from fednnunet.planning.plan import Architecture, Stage
from fednnunet.planning.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """The settings of one planner."""

    kind: Literal["plain", "residual"] = "plain"
    """Encoder: plain convolutions or residual blocks."""
    about: str
    """What the planner is for."""
    budget_3d: Budget
    """Feature map elements that a sample may have in 3D."""
    budget_2d: Budget
    """Feature map elements that a sample may have in 2D."""
    features: int = 32
    """Feature channels of the first stage; doubled from stage to stage."""
    max_features_3d: int = 320
    """Upper limit of the feature channels in 3D."""
    max_features_2d: int = 512
    """Upper limit of the feature channels in 2D."""
    convs: tuple[int, ...] = (2,)
    """Encoder convolutions (or residual blocks) of each stage; the last number is repeated."""
    decoder_convs: tuple[int, ...] = (2,)
    """Decoder convolutions of each stage; the last number is repeated."""
    dataset_share: float = 0.05
    """A batch holds at most this share of all voxels of all cases."""
    shrink_to_two: bool = True
    """Shrink the patch until 2 samples fit (nnU-Net's plain planner), not `budget.batch` samples
    (its residual planners)."""
    max_batch_3d: int | None = None
    """Upper limit of the batch in 3D."""
    max_batch_2d: int | None = None
    """Upper limit of the batch in 2D."""
    max_padding: float | None = None
    """A patch that must be longer than the median shape to be divisible by the strides may exceed
    it by this share; otherwise it is made shorter (nnU-Net always makes it longer)."""
    fixed: bool = False
    """Ignore the memory of the sites and always use the budgets above."""

    def budget(self, *, is_2d: bool) -> Budget:
        """The budget of a 2D or 3D configuration."""
        return self.budget_2d if is_2d else self.budget_3d

    def architecture(self, topology: Topology) -> Architecture:
        """The network for a topology; raises PlanError if nothing can be pooled."""
        last = len(topology.strides) - 1
        if last < 1:
            raise PlanError(
                f"a patch of {list(topology.patch_vox)} voxels is too small for a U-Net",
                mend="use volumes with at least 8 voxels along two axes at the target spacing",
            )
        limit = self.max_features_2d if len(topology.patch_vox) == 2 else self.max_features_3d
        stages = (
            Stage(
                features=min(self.features * 2**i, limit),
                kernel=kernel,
                stride=stride,
                convs=self.convs[min(i, len(self.convs) - 1)],
                decoder_convs=0 if i == last else self.decoder_convs[0],
            )
            for i, (kernel, stride) in enumerate(
                zip(topology.kernels, topology.strides, strict=True)
            )
        )
        return Architecture(kind=self.kind, stages=tuple(stages))


def _residual(about: str, gib: float, elements_3d: float, elements_2d: float) -> Planner:
    return Planner(
        kind="residual",
        about=about,
        budget_3d=Budget(elements=elements_3d, batch=2, memory_gib=gib),
        budget_2d=Budget(elements=elements_2d, batch=12, memory_gib=gib),
        convs=(1, 3, 4, 6),
        decoder_convs=(1,),
        dataset_share=1.0,
        shrink_to_two=False,
    )


PLANNERS = {
    "plain": Planner(
        about="nnU-Net's default: a plain U-Net for 8 GiB",
        budget_3d=PLAIN_3D,
        budget_2d=PLAIN_2D,
    ),
    "resenc_m": _residual(
        "residual encoder for 8 GiB", 8, RESIDUAL_3D.elements, RESIDUAL_2D.elements
    ),
    "resenc_l": _residual("residual encoder for 24 GiB", 24, 2.1e9, 380e6),
    "resenc_xl": _residual("residual encoder for 40 GiB", 40, 3.6e9, 560e6),
    "cpu": Planner(
        about="a small plain U-Net that trains on two CPU cores",
        budget_3d=Budget(elements=20e6, batch=4, memory_gib=8),
        budget_2d=Budget(elements=5e6, batch=8, memory_gib=8),
        features=16,
        max_features_3d=128,
        max_features_2d=128,
        convs=(1, 2),
        decoder_convs=(1,),
        dataset_share=1.0,
        max_batch_3d=2,
        max_batch_2d=8,
        max_padding=0.1,
        fixed=True,
    ),
}


def find_planner(name: str) -> Planner:
    """The planner with that name; raises PlanError, which lists all names."""
    if name not in PLANNERS:
        raise PlanError(
            f"there is no planner {name!r}", mend="choose one of: " + ", ".join(PLANNERS)
        )
    return PLANNERS[name]
