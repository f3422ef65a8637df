"""A plan in the words of nnU-Net v2: the three JSON files beside a trained model.

`plans.json` says how to preprocess and which network to build, `dataset.json` names channels and
labels, `dataset_fingerprint.json` is kept for nnU-Net's own tools. The keys are those of nnU-Net
2.8.1.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from fednnunet.errors import PlanError
from fednnunet.inference.label_map import region_values
from fednnunet.interop.nnunet_plans import KINDS, NORMALISATION, RESAMPLE
from fednnunet.planning.orientation import AS_STORED, CANONICAL
from fednnunet.planning.plan import Architecture, Configuration, Plan, Resampling
from fednnunet.task import Task

PLANS_NAME = "nnUNetPlans"
RESERVED = ("background", "ignore")  # names of labels that mean something to nnU-Net
_NORMALISATION = {ours: theirs for theirs, ours in NORMALISATION.items()}
_NETWORKS = {ours: theirs for theirs, ours in KINDS.items()}
_MODULE = "dynamic_network_architectures.architectures.unet"
_ANISOTROPY = Resampling().anisotropy  # a constant in nnU-Net


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The three files as values for `json.dumps`, and what a user of nnU-Net should know."""

    plans: dict[str, Any]
    dataset: dict[str, Any]
    fingerprint: dict[str, Any]
    notes: tuple[str, ...] = ()


def describe(plan: Plan, *, dataset: str) -> Description:
    """A plan as nnU-Net's files, under the name `dataset` (`Dataset900_Liver`).

    Raises PlanError for what nnU-Net cannot be told. The fingerprint has no list of cases, since
    sites share sums only, and the original medians are those of the finest configuration.
    """
    intensity = {
        str(channel): dataclasses.asdict(statistics)
        for channel, statistics in enumerate(plan.intensity)
    }
    finest = min(plan.configurations, key=lambda c: (c.is_2d, c.spacing_mm))
    plans = {
        "dataset_name": dataset,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": list(finest.spacing_mm),
        "original_median_shape_after_transp": [round(n) for n in finest.median_shape_vox],
        "image_reader_writer": _reader(plan.orientation),
        "transpose_forward": list(plan.transpose),
        "transpose_backward": [plan.transpose.index(axis) for axis in range(3)],
        "configurations": {c.name: _configuration(c, plan) for c in plan.configurations},
        "experiment_planner_used": f"fednnunet {plan.planner}",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": intensity,
    }
    labels, ignore_note = _labels(plan.task)
    described: dict[str, Any] = {
        "channel_names": {str(i): name for i, name in enumerate(plan.task.channels)},
        "labels": labels,
        "numTraining": plan.cases,
        "file_ending": ".nii.gz",
        "name": plan.task.name,
    }
    if plan.task.regions:
        described["regions_class_order"] = list(region_values(plan.task))
    fingerprint: dict[str, Any] = {
        "spacings": [],
        "shapes_after_crop": [],
        "foreground_intensity_properties_per_channel": intensity,
        "median_relative_size_after_cropping": None,
    }
    notes = tuple(filter(None, (ignore_note, _orientation_note(plan.orientation))))
    return Description(plans=plans, dataset=described, fingerprint=fingerprint, notes=notes)


def _reader(orientation: str) -> str:
    """nnU-Net's class that reads images: one turns them to RAS, the other leaves them as stored."""
    return "NibabelIOWithReorient" if orientation == CANONICAL else "SimpleITKIO"


def _orientation_note(orientation: str) -> str:
    if orientation in (CANONICAL, AS_STORED):
        return ""
    return (
        f"nnU-Net does not turn images to {orientation}, the orientation of this plan: give it "
        "images that are stored so"
    )


def _configuration(configuration: Configuration, plan: Plan) -> dict[str, Any]:
    _check_resampling(configuration)
    rules = configuration.resampling
    orders = {
        "data": rules.image_order,
        "seg": rules.label_order,
        "probabilities": rules.logits_order,
    }
    written: dict[str, Any] = {
        "data_identifier": f"{PLANS_NAME}_{configuration.name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": configuration.batch,
        "patch_size": list(configuration.patch_vox),
        "median_image_size_in_voxels": list(configuration.median_shape_vox),
        "spacing": list(configuration.spacing_mm),
        "normalization_schemes": [_NORMALISATION[kind] for kind in configuration.normalisation],
        "use_mask_for_norm": list(configuration.use_mask),
        "architecture": _architecture(configuration.architecture, plan.norm),
        "batch_dice": configuration.batch_dice,
    }
    for key, order in orders.items():
        written[f"resampling_fn_{key}"] = RESAMPLE
        written[f"resampling_fn_{key}_kwargs"] = {
            "is_seg": key == "seg",
            "order": order,
            "order_z": rules.thick_axis_order,
            "force_separate_z": None,
        }
    if configuration.previous:
        written["previous_stage"] = configuration.previous
    following = [c.name for c in plan.configurations if c.previous == configuration.name]
    if following:
        written["next_stage"] = following[0]
    return written


def _check_resampling(configuration: Configuration) -> None:
    if configuration.resampling.anisotropy != _ANISOTROPY:
        raise PlanError(
            f"{configuration.name} takes an axis for thick at {configuration.resampling.anisotropy}"
            f" times the finest spacing, nnU-Net always at {_ANISOTROPY:g} times",
            where=f"plan.json, $.configurations, {configuration.name}",
            mend=f"export a model that was planned with anisotropy {_ANISOTROPY:g}",
        )


def _architecture(architecture: Architecture, norm: str) -> dict[str, Any]:
    stages = architecture.stages
    axes = len(stages[0].kernel)
    word = "n_conv_per_stage" if architecture.kind == "plain" else "n_blocks_per_stage"
    layer = (
        f"instancenorm.InstanceNorm{axes}d" if norm == "instance" else f"batchnorm.BatchNorm{axes}d"
    )
    settings = {
        "n_stages": len(stages),
        "features_per_stage": [stage.features for stage in stages],
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
        "kernel_sizes": [list(stage.kernel) for stage in stages],
        "strides": [list(stage.stride) for stage in stages],
        word: [stage.convs for stage in stages],
        # nnU-Net lists the decoder from the coarsest stage up
        "n_conv_per_stage_decoder": [stage.decoder_convs for stage in stages[-2::-1]],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.{layer}",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "network_class_name": f"{_MODULE}.{_NETWORKS[architecture.kind]}",
        "arch_kwargs": settings,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _labels(task: Task) -> tuple[dict[str, Any], str]:
    """The table of labels, or regions, and a note where the ignore value had to change."""
    labels: dict[str, Any] = {"background": 0}
    if task.regions:
        for name, values in task.regions.items():
            labels[_free(name, values[0])] = list(values)
        if all(len(values) == 1 for values in task.regions.values()):
            # a value twice is the same region; without any list nnU-Net would build a softmax
            first = next(name for name in labels if name != "background")
            labels[first] = labels[first] * 2
    else:
        labels |= {_free(name, v): v for v, name in enumerate(task.labels) if v}
    if task.ignore is None:
        return labels, ""
    used = [v for values in task.regions.values() for v in values] or [len(task.labels) - 1]
    labels["ignore"] = max(used) + 1
    if labels["ignore"] == task.ignore:
        return labels, ""
    return labels, (
        f"nnU-Net asks for an ignore label of {labels['ignore']}, which is {task.ignore} here; "
        "masks are the same, only label maps for more training need the other value"
    )


def _free(name: str, value: int) -> str:
    """A label's name, unless nnU-Net reserves it for something else."""
    return f"{name} {value}" if name in RESERVED else name
