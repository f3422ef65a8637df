"""Settings of a trained nnU-Net model that must be as this program has them.

A plan says more about a network than its layers: whether convolutions have a bias, how steep the
rectifier is. A network with other settings takes the same tensors and predicts something else, so
everything that is not known is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fednnunet.errors import PlanError
from fednnunet.inference.label_map import region_values
from fednnunet.network.blocks import EPS, SLOPE
from fednnunet.task import Task
from fednnunet.text import shown

_READ = {
    "n_stages",
    "features_per_stage",
    "conv_op",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage",
    "n_blocks_per_stage",
    "n_conv_per_stage_decoder",
    "norm_op",
    "dropout_op",
    "nonlin",
}  # settings that `nnunet_plans` reads and checks
_FIXED: dict[str, tuple[Any, ...]] = {
    "conv_bias": (True,),
    "dropout_op_kwargs": (None, {}),
    "nonlin_first": (None, False),
    "deep_supervision": (None, True, False),
    "bottleneck_channels": (None,),
}  # settings and the values of them that our network has
_READERS = (
    "SimpleITKIO",
    "NibabelIO",
    "NibabelIOWithReorient",
    "SimpleITKIOWithReorient",
)
_MEND = "predict with nnU-Net itself, or import a model with nnU-Net's default network"


def network_faults(configuration: Mapping[str, Any]) -> Iterator[PlanError]:
    """What differs from our U-Nets in a configuration of plans.json, one fault for each setting.

    The old style of plans (before nnU-Net 2.4) has no such settings.
    """
    if "architecture" not in configuration:
        return
    given = configuration["architecture"]["arch_kwargs"]
    features = given["features_per_stage"]
    allowed = {
        **_FIXED,
        "norm_op_kwargs": ({"eps": EPS, "affine": True},),
        "nonlin_kwargs": _rectifiers(),
        "stem_channels": (None, features[0]),
    }
    for name, values in allowed.items():
        value = given.get(name)
        if value not in values:
            yield _other(name, value)
    block = given.get("block")
    if block is not None and not str(block).endswith("BasicBlockD"):
        yield _other("block", block)
    for name in sorted(given.keys() - allowed.keys() - _READ - {"block"}):
        yield _other(name, given[name])


def preprocessing_faults(
    plans: Mapping[str, Any], configuration: Mapping[str, Any]
) -> Iterator[PlanError]:
    """Classes of nnU-Net that read, preprocess or label otherwise than this program."""
    known = (
        ("preprocessor", configuration.get("preprocessor_name"), ("DefaultPreprocessor",)),
        ("label manager", plans.get("label_manager", "LabelManager"), ("LabelManager",)),
        ("reader of images", plans.get("image_reader_writer"), _READERS),
    )
    for what, name, names in known:
        if name not in names:
            yield PlanError(
                f"the plan has the {what} {shown(name)}",
                mend=f"import a model with {' or '.join(names)}",
            )


def region_faults(dataset: Mapping[str, Any], task: Task) -> Iterator[PlanError]:
    """An order of regions by which masks would get other values than here."""
    if not task.regions:
        return
    given, ours = dataset.get("regions_class_order"), list(region_values(task))
    if list(given or ()) != ours:
        yield PlanError(
            f"the regions write the values {shown(given)} (regions_class_order), here {ours}",
            mend="order the regions from the largest to the smallest, and train again",
        )


def _rectifiers() -> tuple[dict[str, Any], ...]:
    """Ways to write a leaky rectifier of our slope, which is torch's default."""
    return tuple(
        {**slope, **inplace}
        for slope in ({}, {"negative_slope": SLOPE})
        for inplace in ({}, {"inplace": True}, {"inplace": False})
    )


def _other(name: str, value: Any) -> PlanError:
    return PlanError(f"the network has {name} {shown(value)}, which is not ours", mend=_MEND)
