"""Convert a plan of nnU-Net v2 (`nnUNetPlans.json` with its `dataset.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fednnunet.errors import FedNNUNetError, InputError, PlanError, raise_all
from fednnunet.interop import nnunet_settings
from fednnunet.planning.orientation import AS_STORED, CANONICAL
from fednnunet.planning.plan import (
    Architecture,
    Configuration,
    Intensity,
    Normalisation,
    Plan,
    Reason,
    Resampling,
    Stage,
)
from fednnunet.task import MAX_LABELS, Task

NORMALISATION: dict[str, Normalisation] = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
}
KINDS = {"PlainConvUNet": "plain", "ResidualEncoderUNet": "residual"}
TURNING = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")  # readers that turn images to RAS
RESAMPLE = "resample_data_or_seg_to_shape"
_COPY = "copy the file again from nnU-Net's folder"


def read_nnunet_plan(plans: Path, dataset: Path | None = None) -> Plan:
    """Read `nnUNetPlans.json` (2.x, old or new style) and `dataset.json`, by default in its folder.

    Raises InputError or PlanError for everything that this program cannot reproduce.
    """
    data = _load(plans)
    described = _load(dataset or plans.parent / "dataset.json")
    try:
        return _plan(data, described)
    except KeyError as error:
        raise InputError(
            f"the field {error} is missing", where=str(plans), mend="give a plan of nnU-Net v2"
        ) from None
    except (TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as error:
        raise InputError(
            f"the plan cannot be read: {error}",
            where=str(plans),
            mend="copy the plan again from nnU-Net's folder of preprocessed data",
        ) from None
    except FedNNUNetError as error:
        where = f"{plans}, {error.where}" if error.where else str(plans)
        raise type(error)(error.what, where=where, mend=error.mend) from None


def read_trained_plan(plans: Path, dataset: Path, name: str) -> Plan:
    """The plan of a trained network: as `read_nnunet_plan`, and strict about the configuration.

    Raises PlanError where the network, the preprocessing or the labels of configuration `name` are
    other than this program's, in settings that a plan alone does not need.
    """
    plan = read_nnunet_plan(plans, dataset)
    plan.configuration(name)
    data, described = _load(plans), _load(dataset)
    settings = _resolve(data["configurations"], name)
    faults = [
        *nnunet_settings.network_faults(settings),
        *nnunet_settings.preprocessing_faults(data, settings),
        *nnunet_settings.region_faults(described, plan.task),
    ]
    for fault in faults:
        fault.where = str(plans)
    raise_all(f"{name} cannot be taken over", faults)
    return plan


def read_nnunet_task(described: Mapping[str, Any], *, name: str) -> Task:
    """The task in a parsed `dataset.json`, with regions and an ignore label if it has them."""
    channels = described.get("channel_names") or described["modality"]
    ordered = tuple(str(channels[key]) for key in sorted(channels, key=int))
    labels: dict[str, tuple[int, ...]] = {
        str(name): _values(value) for name, value in described["labels"].items()
    }
    ignore = labels.pop("ignore")[0] if "ignore" in labels else None
    if all(len(values) == 1 for values in labels.values()):
        by_value = sorted(labels, key=lambda label: labels[label])
        if [labels[label][0] for label in by_value] != list(range(len(by_value))):
            raise InputError(
                "the labels are not numbered from 0 on",
                mend="number the labels 0, 1, 2, ... in dataset.json and in the label maps",
            )
        return Task(name=name, channels=ordered, labels=tuple(by_value), ignore=ignore)
    regions = {
        label: tuple(dict.fromkeys(values)) for label, values in labels.items() if values != (0,)
    }
    highest = max(value for values in regions.values() for value in values)
    if highest >= MAX_LABELS:
        raise InputError(
            f"a label has the value {highest}", mend=f"use label values up to {MAX_LABELS - 1}"
        )
    single = {values[0]: label for label, values in regions.items() if len(values) == 1}
    values = range(1, highest + 1)
    names = (_label_name(single.get(value, f"label {value}"), regions) for value in values)
    all_names = ("background", *names)
    return Task(name=name, channels=ordered, labels=all_names, regions=regions, ignore=ignore)


def _label_name(name: str, regions: Mapping[str, object]) -> str:
    """The name of a label, different from that of the region that consists of it."""
    return f"{name} alone" if name in regions else name


def _values(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),)


def _plan(data: Mapping[str, Any], described: Mapping[str, Any]) -> Plan:
    task = read_nnunet_task(described, name=str(data["dataset_name"]))
    names = list(data["configurations"])
    resolved = {name: _resolve(data["configurations"], name) for name in names}
    configurations = tuple(_configuration(name, c) for name, c in resolved.items())
    norms = {_norm(c) for c in resolved.values()}
    if len(norms) != 1:
        raise PlanError(
            "the configurations use different normalisation layers",
            mend="write one plan for each kind of normalisation layer",
        )
    given = data["foreground_intensity_properties_per_channel"]
    fields = ("mean", "median", "std", "min", "max", "percentile_00_5", "percentile_99_5")
    intensity = tuple(
        Intensity(**{field: float(given[str(i)][field]) for field in fields})
        for i in range(len(task.channels))
    )
    z, y, x = (int(axis) for axis in data["transpose_forward"])
    planner = str(data.get("experiment_planner_used", "nnU-Net"))
    because = f"copied from {data.get('plans_name', 'a plan')} of nnU-Net ({planner})"
    return Plan(
        task=task,
        planner=planner,
        configurations=configurations,
        intensity=intensity,
        transpose=(z, y, x),
        orientation=CANONICAL if data.get("image_reader_writer") in TURNING else AS_STORED,
        norm="instance" if norms == {"instance"} else "batch",
        cases=int(described.get("numTraining", 0)),
        reasons=(Reason(decision="all decisions", because=because),),
    )


def _resolve(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration with what it inherits."""
    own, chain = dict(configurations[name]), {name}
    while parent := own.pop("inherits_from", None):
        if parent in chain or parent not in configurations:
            raise InputError(
                f"{name} inherits from {parent}, which is missing or inherits from it",
                mend="correct inherits_from to an existing configuration",
            )
        chain.add(parent)
        own = {**configurations[parent], **own}
    return own


def _configuration(name: str, data: Mapping[str, Any]) -> Configuration:
    kinds = data["normalization_schemes"]
    unknown = [kind for kind in kinds if kind not in NORMALISATION]
    if unknown:
        raise PlanError(
            f"{name} normalises by {', '.join(unknown)}",
            mend="use one of: " + ", ".join(NORMALISATION),
        )
    return Configuration(
        name=name,
        spacing_mm=tuple(float(s) for s in data["spacing"]),
        patch_vox=tuple(int(p) for p in data["patch_size"]),
        batch=int(data["batch_size"]),
        median_shape_vox=tuple(float(s) for s in data["median_image_size_in_voxels"]),
        normalisation=tuple(NORMALISATION[kind] for kind in kinds),
        use_mask=tuple(bool(use) for use in data["use_mask_for_norm"]),
        architecture=_architecture(data),
        batch_dice=bool(data["batch_dice"]),
        resampling=_resampling(name, data),
        previous=data.get("previous_stage"),
    )


def _architecture(data: Mapping[str, Any]) -> Architecture:
    if "architecture" not in data:
        return _old_architecture(data)
    network = str(data["architecture"]["network_class_name"]).rsplit(".", 1)[-1]
    if network not in KINDS:
        raise PlanError(f"the network {network} is unknown", mend="known: " + ", ".join(KINDS))
    given = data["architecture"]["arch_kwargs"]
    if not str(given.get("nonlin", "LeakyReLU")).endswith("LeakyReLU") or given.get("dropout_op"):
        raise PlanError(
            f"the network has {given.get('nonlin')} and dropout {given.get('dropout_op')}",
            mend="plan with LeakyReLU and without dropout, as this program builds it",
        )
    convs = given["n_conv_per_stage" if KINDS[network] == "plain" else "n_blocks_per_stage"]
    return _stages(
        kind=KINDS[network],
        features=given["features_per_stage"],
        kernels=given["kernel_sizes"],
        strides=given["strides"],
        convs=convs,
        decoder=given["n_conv_per_stage_decoder"],
    )


def _old_architecture(data: Mapping[str, Any]) -> Architecture:
    """The style before nnU-Net 2.4: flat fields."""
    network = str(data["UNet_class_name"])
    if network not in KINDS:
        raise PlanError(f"the network {network} is unknown", mend="known: " + ", ".join(KINDS))
    strides = data["pool_op_kernel_sizes"]
    base, highest = int(data["UNet_base_num_features"]), int(data["unet_max_num_features"])
    return _stages(
        kind=KINDS[network],
        features=[min(base * 2**i, highest) for i in range(len(strides))],
        kernels=data["conv_kernel_sizes"],
        strides=strides,
        convs=data["n_conv_per_stage_encoder"],
        decoder=data["n_conv_per_stage_decoder"],
    )


def _stages(
    *, kind: str, features: Any, kernels: Any, strides: Any, convs: Any, decoder: Any
) -> Architecture:
    # nnU-Net lists the decoder from the coarsest stage up
    per_stage = [*reversed([int(n) for n in decoder]), 0]
    columns = (features, kernels, strides, convs, per_stage)
    stages = tuple(
        Stage(
            features=int(f),
            kernel=tuple(int(n) for n in kernel),
            stride=tuple(int(n) for n in stride),
            convs=int(n_convs),
            decoder_convs=n_decoder,
        )
        for f, kernel, stride, n_convs, n_decoder in zip(*columns, strict=True)
    )
    return Architecture(kind="plain" if kind == "plain" else "residual", stages=stages)


def _norm(data: Mapping[str, Any]) -> str:
    if "architecture" not in data:
        return "instance"
    given = str(data["architecture"]["arch_kwargs"]["norm_op"])
    for word, norm in (("InstanceNorm", "instance"), ("BatchNorm", "batch")):
        if word in given:
            return norm
    raise PlanError(
        f"the normalisation layer {given} is unknown", mend="plan with instance or batch norm"
    )


def _resampling(name: str, data: Mapping[str, Any]) -> Resampling:
    keys = ("data", "seg", "probabilities")
    functions = {data.get(f"resampling_fn_{key}", RESAMPLE) for key in keys}
    settings = [data.get(f"resampling_fn_{key}_kwargs", {}) for key in keys]
    forced = any(kwargs.get("force_separate_z") is not None for kwargs in settings)
    thick = {int(kwargs.get("order_z", 0)) for kwargs in settings}
    if functions != {RESAMPLE} or forced or len(thick) != 1:
        raise PlanError(
            f"{name} resamples by {', '.join(sorted(functions))}, with settings this program lacks",
            mend=f"plan with {RESAMPLE}, force_separate_z null and one order_z",
        )
    image, label, logits = (
        int(kwargs.get("order", default))
        for kwargs, default in zip(settings, (3, 1, 1), strict=True)
    )
    return Resampling(
        image_order=image, label_order=label, logits_order=logits, thick_axis_order=thick.pop()
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path.name} is missing",
            where=str(path),
            mend="correct the path, or give that of dataset.json with --dataset-json",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path.name} is not readable JSON: {error}", where=str(path), mend=_COPY
        ) from None
    if not isinstance(data, dict):
        raise InputError(f"{path.name} holds no table", where=str(path), mend=_COPY)
    return data
