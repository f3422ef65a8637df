"""The planners by name: what each may spend and how it builds a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fednnunet.errors import PlanError
from fednnunet.planning.memory import PLAIN_2D, PLAIN_3D, RESIDUAL_2D, RESIDUAL_3D, Budget
from fednnunet.planning.plan import Architecture, Stage
from fednnunet.planning.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """A named set of choices.

    `budget_3d` and `budget_2d` say what a sample may take. `dataset_share` caps the voxels of a
    batch as a share of all voxels. The patch shrinks until `budget.batch` samples fit, or with
    `shrink_to_two` until two do (plain nnU-Net differs from its residual planners here).
    `convs` and `decoder_convs` are per stage, the last repeated. `largest_batch_3d` and
    `largest_batch_2d` cap the batch. `most_padding` is the share of the median shape by which a
    patch may outgrow it to be divisible; beyond, it is cut and not padded (nnU-Net always pads).
    `fixed` keeps the budget whatever the memory.
    """

    kind: Literal["plain", "residual"] = "plain"
    about: str
    budget_3d: Budget
    budget_2d: Budget
    features: int = 32
    most_features_3d: int = 320
    most_features_2d: int = 512
    convs: tuple[int, ...] = (2,)
    decoder_convs: tuple[int, ...] = (2,)
    dataset_share: float = 0.05
    shrink_to_two: bool = True
    largest_batch_3d: int | None = None
    largest_batch_2d: int | None = None
    most_padding: float | None = None
    fixed: bool = False

    def budget(self, *, is_2d: bool) -> Budget:
        """The budget of a 2D or 3D configuration."""
        return self.budget_2d if is_2d else self.budget_3d

    def architecture(self, topology: Topology) -> Architecture:
        """The network for a topology; raises PlanError if nothing can be pooled."""
        last = len(topology.strides) - 1
        if last < 1:
            raise PlanError(
                f"a patch of {list(topology.patch_vox)} voxels is too small for a U-Net",
                mend="at least two axes need 8 voxels (one axis 12) at the target spacing",
            )
        most = self.most_features_2d if len(topology.patch_vox) == 2 else self.most_features_3d
        stages = (
            Stage(
                features=min(self.features * 2**i, most),
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
        most_features_3d=128,
        most_features_2d=128,
        convs=(1, 2),
        decoder_convs=(1,),
        dataset_share=1.0,
        largest_batch_3d=2,
        largest_batch_2d=8,
        most_padding=0.1,
        fixed=True,
    ),
}


def find_planner(name: str) -> Planner:
    """The planner of that name; raises PlanError naming those there are."""
    if name not in PLANNERS:
        raise PlanError(
            f"there is no planner {name!r}", mend="choose one of: " + ", ".join(PLANNERS)
        )
    return PLANNERS[name]
