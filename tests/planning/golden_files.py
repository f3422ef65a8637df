"""Plans that nnU-Net v2 made, and how ours compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fednnunet.interop.case_list import (
    CaseList,
    fingerprints,
    merge_fingerprints,
    merge_shapes,
    read_case_list,
    split,
)
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.spacing import target_spacing

SHIPPED = Path(__file__).resolve().parents[2] / "plans" / "examples"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "golden"
FILES = sorted([*SHIPPED.glob("*.json"), *(SHARED.glob("*.json") if SHARED.is_dir() else [])])
"""The plans that ship, and those of the shared folder where there is one."""

NORMALISATION = {"CTNormalization": "ct", "ZScoreNormalization": "zscore"}


@cache
def measured(path: Path) -> tuple[CaseList, Sequence[CaseFingerprint]]:
    """A case list and the fingerprint of each of its cases."""
    cases = read_case_list(path)
    return cases, fingerprints(cases)


@cache
def merged(path: Path, sites: int, seed: int) -> tuple[Fingerprint, ShapeSketch]:
    """Both exchanges of a case list that is split over `sites`."""
    cases, found = measured(path)
    parts = [[found[i] for i in part] for part in split(len(found), sites, seed)]
    fingerprint = merge_fingerprints(cases.task, parts)
    return fingerprint, merge_shapes(target_spacing(fingerprint), parts)


def plan_of(path: Path, cases: CaseList, *, sites: int, seed: int) -> Plan:
    """The plan of a golden file; files that share their cases share the exchanges."""
    source = json.loads(path.read_text())["cases"]
    root = path.parent / source.removeprefix("as in ") if isinstance(source, str) else path
    fingerprint, shapes = merged(root, sites, seed)
    intensity = tuple(cases.intensity[str(i)] for i in range(len(cases.channels)))
    return make_plan(
        fingerprint,
        shapes,
        planner=cases.planner_name,
        memory_gib=cases.gpu_memory_gib,
        intensity=intensity,
    )


def as_expected(configuration: Configuration) -> dict[str, Any]:
    """A configuration in the words of the golden files, but for its spacing."""
    stages = configuration.architecture.stages
    return {
        "patch_vox": list(configuration.patch_vox),
        "batch": configuration.batch,
        "median_shape_vox": list(configuration.median_shape_vox),
        "batch_dice": configuration.batch_dice,
        "normalization": list(configuration.normalisation),
        "use_mask_for_norm": list(configuration.use_mask),
        "features": [stage.features for stage in stages],
        "strides": [list(stage.stride) for stage in stages],
        "kernels": [list(stage.kernel) for stage in stages],
        "blocks_or_convs": [stage.convs for stage in stages],
        "decoder_convs": [stage.decoder_convs for stage in stages][:-1],
    }


def expectations(golden: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What nnU-Net decided, by configuration, without the cascade (which repeats another)."""
    found = {}
    for name, expected in golden["expect"].items():
        if "inherits_from" in expected:
            continue
        words = [NORMALISATION[word] for word in expected["normalization"]]
        found[name] = {**expected, "normalization": words}
    return found
