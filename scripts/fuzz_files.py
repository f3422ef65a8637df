"""Fuzz targets for files that people write: TOML and JSON that describe tasks, sites and cases."""

from __future__ import annotations

import functools
import json
import random
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fuzz_images import write_site
from fuzz_mutate import mutate_json, mutate_toml
from fuzz_targets import TASK, Target

from fednnunet import records
from fednnunet.dataset import scan_dataset
from fednnunet.dataset_header import task_of
from fednnunet.errors import FedNNUNetError
from fednnunet.evaluation.folders import read_task
from fednnunet.federation.site.policy import read_policy
from fednnunet.federation.spec import Federation, read_federation
from fednnunet.interop.case_list import plan_what_if, read_case_list
from fednnunet.interop.nnunet_plans import read_nnunet_plan
from fednnunet.planning.explain import why

PLANS = Path(__file__).resolve().parents[1] / "plans"

FEDERATION = """
[task]
name = "fuzz"
channels = ["MRI"]
labels = ["background", "organ", "tumour"]
regions = {whole = [1, 2], core = [2]}

[sites.berlin]
folder = "berlin"
labels = "partial"
annotated = ["organ"]
memory_gib = 8.0
patient = "(.+)_scan[0-9]"

[sites.oslo]
folder = "oslo"
joins = 2
leaves = 9

[budget]
memory_gib = 8
planner = "plain"

[training]
method = "fedavg"
rounds = 10
iterations_per_round = 5
quorum = 1
held_out = 0.2
seed = 3
"""


@functools.cache
def _federation() -> Any:
    return tomllib.loads(FEDERATION)


def federation(rng: random.Random, folder: Path) -> None:
    """Read a changed federation file, and write it as a run keeps it."""
    for site in ("berlin", "oslo"):
        (folder / site).mkdir(exist_ok=True)
    path = folder / "federation.toml"
    path.write_bytes(mutate_toml(rng, _federation()))
    read = read_federation(path)
    records.write(read, folder / "federation.json")
    records.read(Federation, folder / "federation.json")
    for name in read.sites:
        read.agreed_labels(name)


def site_policy(rng: random.Random, folder: Path) -> None:
    """Read a changed site.toml."""
    path = folder / "site.toml"
    policy = {"min_cases": 5, "min_bin_count": 2, "min_scored_cases": 3, "share_model": True}
    path.write_bytes(mutate_toml(rng, policy))
    read_policy(path, folder)


def dataset(rng: random.Random, folder: Path) -> None:
    """List a site whose dataset.json was changed."""
    site = folder / "site"
    write_site(site)
    header = {
        "channel_names": {"0": "MRI", "1": "CT"},
        "labels": {"background": 0, "organ": 1, "both": [1, 2], "ignore": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "groups": {"case_1": "anna"},
        "looked_at": ["case_1"],
    }
    path = site / "dataset.json"
    path.write_bytes(mutate_json(rng, header))
    for read in (lambda: task_of(site), lambda: read_task(path)):
        try:
            task = read()
        except FedNNUNetError:
            continue
        str((task.values, task.heads, task.targets))
    scan_dataset(site, TASK, site="berlin")


def case_list(rng: random.Random, folder: Path) -> None:
    """Plan from a changed list of cases."""
    path = folder / "cases.json"
    path.write_bytes(mutate_json(rng, _case_list()))
    why(plan_what_if(read_case_list(path), sites=2, seed=1, planner=None, memory_gib=None).plan)


@functools.cache
def _case_list() -> Any:
    content = json.loads(min((PLANS / "examples").glob("*.json")).read_bytes())
    return _short(content)


def _short(value: Any) -> Any:
    """A document with lists of at most 20 entries."""
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value[:20]] if isinstance(value, list) else value


def nnunet_plan(rng: random.Random, folder: Path) -> None:
    """Take over a changed nnUNetPlans.json."""
    described = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}}
    documents = {"plans": _nnunet_plan(), "dataset": {**described, "numTraining": 4}}
    changed = rng.choice(("plans", "plans", "dataset"))
    for name, document in documents.items():
        data = mutate_json(rng, document) if name == changed else json.dumps(document).encode()
        (folder / f"{name}.json").write_bytes(data)
    why(read_nnunet_plan(folder / "plans.json", folder / "dataset.json"))


def _nnunet_plan() -> Any:
    values = ("mean", "median", "std", "min", "max", "percentile_00_5", "percentile_99_5")
    configuration = {
        "spacing": [1.0, 1.0, 1.0],
        "patch_size": [16, 16, 16],
        "batch_size": 2,
        "median_image_size_in_voxels": [20.0, 20.0, 20.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [4, 8],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                "strides": [[1, 1, 1], [2, 2, 2]],
                "n_conv_per_stage": [2, 2],
                "n_conv_per_stage_decoder": [2],
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            },
        },
    }
    return {
        "dataset_name": "Dataset001",
        "plans_name": "nnUNetPlans",
        "configurations": {"3d_fullres": configuration, "low": {"inherits_from": "3d_fullres"}},
        "foreground_intensity_properties_per_channel": {"0": dict.fromkeys(values, 1.0)},
        "transpose_forward": [0, 1, 2],
    }


FILE_TARGETS: dict[str, Target] = {
    "federation": federation,
    "policy": site_policy,
    "dataset": dataset,
    "cases": case_list,
    "nnunet": nnunet_plan,
}
