"""The table of rules of aggregation weights, by the word `rule` in `[training.weights]`."""

from __future__ import annotations

from typing import Annotated

from fednnunet import records
from fednnunet.federation.methods.weighting.annotated_voxels import AnnotatedVoxels
from fednnunet.federation.methods.weighting.closeness import Closeness
from fednnunet.federation.methods.weighting.contour_noise import ContourNoise
from fednnunet.federation.methods.weighting.fedmix import FedMix
from fednnunet.federation.methods.weighting.held_out_dice import HeldOutDice
from fednnunet.federation.methods.weighting.loss_bound import LossBound
from fednnunet.federation.methods.weighting.plain import Cases, Uniform
from fednnunet.federation.methods.weighting.rule import WeightRule

RULES: dict[str, type[WeightRule]] = {
    rule.tag: rule
    for rule in (
        Cases,
        Uniform,
        AnnotatedVoxels,
        Closeness,
        HeldOutDice,
        LossBound,
        FedMix,
        ContourNoise,
    )
}
"""Every rule by its name."""

CHOICE = records.OneOf("rule", RULES, {tag: kind() for tag, kind in RULES.items()}, "rule")
WeightsChoice = Annotated[WeightRule, CHOICE]
"""A field of the federation file that names a rule, or has a table of its settings."""
