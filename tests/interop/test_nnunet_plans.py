from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fednnunet.errors import FedNNUNetError
from fednnunet.interop.nnunet_plans import read_nnunet_plan

INTENSITY = {
    "mean": 90.0,
    "median": 88.0,
    "std": 30.0,
    "min": -10.0,
    "max": 900.0,
    "percentile_00_5": -5.0,
    "percentile_99_5": 300.0,
}
RESAMPLE = "resample_data_or_seg_to_shape"


def resampling() -> dict[str, Any]:
    orders = {"data": 3, "seg": 1, "probabilities": 1}
    found: dict[str, Any] = {f"resampling_fn_{key}": RESAMPLE for key in orders}
    for key, order in orders.items():
        settings = {"is_seg": key == "seg", "order": order, "order_z": 0, "force_separate_z": None}
        found[f"resampling_fn_{key}_kwargs"] = settings
    return found


def configuration(**changes: Any) -> dict[str, Any]:
    network = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [32, 64, 128],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
            "n_conv_per_stage": [2, 2, 2],
            "n_conv_per_stage_decoder": [1, 2],
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "dropout_op": None,
            "nonlin": "torch.nn.LeakyReLU",
        },
    }
    base = {
        "batch_size": 2,
        "patch_size": [16, 64, 64],
        "median_image_size_in_voxels": [20.0, 200.0, 190.5],
        "spacing": [5.0, 1.0, 1.0],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": True,
        "architecture": network,
    }
    return {**base, **resampling(), **changes}


def plans(**changes: Any) -> dict[str, Any]:
    low = configuration(spacing=[5.0, 2.0, 2.0], batch_dice=False, next_stage="3d_cascade_fullres")
    return {
        "dataset_name": "Dataset001_Made",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [1, 0, 2],
        "configurations": {
            "3d_lowres": low,
            "3d_fullres": configuration(),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
        "experiment_planner_used": "ExperimentPlanner",
        "foreground_intensity_properties_per_channel": {"0": INTENSITY},
        **changes,
    }


DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "numTraining": 131,
    "file_ending": ".nii.gz",
}


def write(folder: Path, data: dict[str, Any], dataset: dict[str, Any] = DATASET) -> Path:
    (folder / "dataset.json").write_text(json.dumps(dataset))
    path = folder / "nnUNetPlans.json"
    path.write_text(json.dumps(data))
    return path


def test_all_decisions_are_taken_over(tmp_path: Path) -> None:
    plan = read_nnunet_plan(write(tmp_path, plans()))
    full = plan.configuration("3d_fullres")
    assert (plan.transpose, plan.cases, plan.norm) == ((1, 0, 2), 131, "instance")
    assert plan.task.labels == ("background", "liver", "tumour")
    assert (full.patch_vox, full.batch, full.batch_dice) == ((16, 64, 64), 2, True)
    assert (full.normalisation, full.use_mask) == (("ct",), (False,))
    stages = full.architecture.stages
    assert [s.kernel for s in stages] == [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    assert [s.stride for s in stages] == [(1, 1, 1), (1, 2, 2), (2, 2, 2)]
    # nnU-Net counts decoder stages from the coarsest up
    assert [s.decoder_convs for s in stages] == [2, 1, 0]
    assert plan.intensity[0].percentile_99_5 == 300.0


def test_the_cascade_inherits(tmp_path: Path) -> None:
    plan = read_nnunet_plan(write(tmp_path, plans()))
    cascade, full = plan.configuration("3d_cascade_fullres"), plan.configuration("3d_fullres")
    assert cascade.previous == "3d_lowres"
    assert cascade.architecture == full.architecture and cascade.spacing_mm == full.spacing_mm


def test_regions_and_ignore(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    task = read_nnunet_plan(write(tmp_path, plans(), DATASET | {"labels": labels})).task
    assert task.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert (len(task.labels), task.ignore) == (4, 4)


def test_the_style_before_2_4(tmp_path: Path) -> None:
    old = configuration(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=32,
        unet_max_num_features=64,
        n_conv_per_stage_encoder=[2, 2, 2],
        n_conv_per_stage_decoder=[2, 2],
        pool_op_kernel_sizes=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        conv_kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    )
    del old["architecture"]
    plan = read_nnunet_plan(write(tmp_path, plans(configurations={"3d_fullres": old})))
    assert [s.features for s in plan.configurations[0].architecture.stages] == [32, 64, 64]


def altered(**settings: Any) -> dict[str, Any]:
    """A plan whose only configuration has other settings, or other network settings."""
    network = copy.deepcopy(configuration()["architecture"])
    for key in settings.keys() & (network["arch_kwargs"].keys() | {"network_class_name"}):
        place = network if key == "network_class_name" else network["arch_kwargs"]
        place[key] = settings.pop(key)
    return plans(configurations={"3d_fullres": configuration(**settings, architecture=network)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (altered(network_class_name="my.Transformer"), "Transformer is unknown"),
        (altered(nonlin="torch.nn.GELU"), "GELU"),
        (altered(norm_op="torch.nn.GroupNorm"), "GroupNorm"),
        (altered(normalization_schemes=["MyNorm"]), "MyNorm"),
        (altered(resampling_fn_data="resample_torch"), "resample_torch"),
        (altered(patch_size=[15, 64, 64]), "not divisible"),
        (altered(strides=[[1, 1, 1], [2, 2, 2]]), "cannot be read"),
        (plans(configurations={"a": {"inherits_from": "a"}}), "inherits from"),
        ({"dataset_name": "x"}, "is missing"),
    ],
)
def test_what_cannot_be_done_alike_is_refused(
    data: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FedNNUNetError, match=message) as caught:
        read_nnunet_plan(write(tmp_path, data))
    assert "nnUNetPlans.json" in str(caught.value)


def test_a_missing_dataset_json_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, plans())
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(FedNNUNetError, match=r"dataset\.json is missing"):
        read_nnunet_plan(path)
