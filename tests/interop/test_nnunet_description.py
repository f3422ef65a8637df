from __future__ import annotations

import dataclasses
import json
import pydoc
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from fednnunet.errors import PlanError
from fednnunet.interop.nnunet_description import describe
from fednnunet.interop.nnunet_plans import read_trained_plan
from fednnunet.planning.plan import Plan, Resampling
from fednnunet.task import Task
from tests.interop.models import KINDS, REGIONS, TASK, make_plan


def read_back(plan: Plan, folder: Path) -> Plan:
    """The plan as it is read from the files that describe it."""
    description = describe(plan, dataset="Dataset900_Made")
    (folder / "plans.json").write_text(json.dumps(description.plans))
    (folder / "dataset.json").write_text(json.dumps(description.dataset))
    name = plan.configurations[0].name
    return read_trained_plan(folder / "plans.json", folder / "dataset.json", name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_say_all_that_a_network_needs(kind: str, tmp_path: Path) -> None:
    plan = make_plan(kind, transpose=(2, 0, 1), orientation="RAS")
    back = read_back(plan, tmp_path)
    for part in ("configurations", "intensity", "transpose", "orientation", "norm", "cases"):
        assert getattr(back, part) == getattr(plan, part)
    assert back.task.labels == plan.task.labels


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_named_as_python_finds_them(kind: str) -> None:
    plan = make_plan(kind)
    plans = describe(plan, dataset="d").plans["configurations"][plan.configurations[0].name]
    settings, axes = plans["architecture"]["arch_kwargs"], KINDS[kind][1]
    found = {pydoc.locate(settings[key]) for key in ("conv_op", "norm_op", "nonlin")}
    norms = {"instance": f"InstanceNorm{axes}d", "batch": f"BatchNorm{axes}d"}
    names = (f"Conv{axes}d", norms[plan.norm], "LeakyReLU")
    assert found == {getattr(nn, name) for name in names}


def test_regions_and_the_ignore_label_come_back(tmp_path: Path) -> None:
    plan = make_plan(task=REGIONS)
    task = read_back(plan, tmp_path).task
    assert (task.regions, task.ignore, task.heads) == (REGIONS.regions, 4, 3)
    assert describe(plan, dataset="d").dataset["regions_class_order"] == [1, 2, 3]


def test_regions_of_one_value_are_regions_still(tmp_path: Path) -> None:
    task = dataclasses.replace(REGIONS, regions={"edema": (1,), "core": (2,)}, ignore=None)
    assert read_back(make_plan(task=task), tmp_path).task.regions == task.regions


def labels(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = describe(make_plan(task=task), dataset="d").dataset["labels"]
    return found


def test_reserved_names_are_kept_for_what_they_mean() -> None:
    task = dataclasses.replace(TASK, labels=("air", "background", "ignore", "bone"))
    assert labels(task) == {"background": 0, "background 1": 1, "ignore 2": 2, "bone": 3}


def test_an_ignore_value_that_nnunet_refuses_is_changed_and_said() -> None:
    plan = make_plan(task=dataclasses.replace(TASK, ignore=255))
    description = describe(plan, dataset="d")
    assert description.dataset["labels"]["ignore"] == 3
    assert any("255" in note for note in description.notes)


@pytest.mark.parametrize(
    ("orientation", "reader", "notes"),
    [
        ("as stored", "SimpleITKIO", 0),
        ("RAS", "NibabelIOWithReorient", 0),
        ("LPS", "SimpleITKIO", 1),
    ],
)
def test_the_reader_turns_images_where_it_can(orientation: str, reader: str, notes: int) -> None:
    description = describe(make_plan(orientation=orientation), dataset="d")
    assert description.plans["image_reader_writer"] == reader
    assert len(description.notes) == notes


def test_a_cascade_names_both_of_its_stages() -> None:
    low = make_plan().configurations[0]
    high = dataclasses.replace(low, name="3d_cascade_fullres", previous=low.name)
    plans = describe(make_plan(configurations=(low, high)), dataset="d").plans["configurations"]
    assert plans[low.name]["next_stage"] == high.name
    assert plans[high.name]["previous_stage"] == low.name


def test_another_anisotropy_is_refused() -> None:
    low = make_plan().configurations[0]
    changed = dataclasses.replace(low, resampling=Resampling(anisotropy=2.0))
    with pytest.raises(PlanError, match="thick") as caught:
        describe(make_plan(configurations=(changed,)), dataset="d")
    assert caught.value.mend and "3d_fullres" in caught.value.where
