from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fednnunet.interop.nnunet_description import describe
from fednnunet.interop.nnunet_settings import (
    network_faults,
    preprocessing_faults,
    region_faults,
)
from tests.interop.models import KINDS, REGIONS, TASK, make_plan


def written(kind: str = "plain_3d") -> tuple[dict[str, Any], dict[str, Any]]:
    """The plans of our own network and its configuration."""
    plan = make_plan(kind)
    plans = describe(plan, dataset="d").plans
    return plans, plans["configurations"][plan.configurations[0].name]


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_networks_have_no_fault(kind: str) -> None:
    plans, configuration = written(kind)
    assert not list(network_faults(configuration))
    assert not list(preprocessing_faults(plans, configuration))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("conv_bias", False),
        ("norm_op_kwargs", {"eps": 1e-3, "affine": True}),
        ("norm_op_kwargs", None),
        ("nonlin_kwargs", {"negative_slope": 0.2}),
        ("nonlin_first", True),
        ("stem_channels", 99),
        ("block", "dynamic_network_architectures.building_blocks.residual.BottleneckD"),
        ("squeeze_excitation", True),
    ],
)
def test_another_setting_is_a_fault(name: str, value: Any) -> None:
    _, configuration = written()
    configuration["architecture"]["arch_kwargs"][name] = value
    (fault,) = network_faults(configuration)
    assert fault.what.startswith(f"the network has {name}") and fault.mend


def test_old_plans_have_no_settings() -> None:
    assert not list(network_faults({"UNet_class_name": "PlainConvUNet"}))


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("configuration", "preprocessor_name", "MyPreprocessor"),
        ("plans", "label_manager", "MyLabels"),
        ("plans", "image_reader_writer", "NaturalImage2DIO"),
    ],
)
def test_classes_of_somebody_else_are_faults(place: str, key: str, value: str) -> None:
    plans, configuration = written()
    (plans if place == "plans" else configuration)[key] = value
    (fault,) = preprocessing_faults(plans, configuration)
    assert value in fault.what and fault.mend


def test_regions_must_be_written_in_our_order() -> None:
    assert not list(region_faults({}, TASK))
    assert not list(region_faults({"regions_class_order": [1, 2, 3]}, REGIONS))
    (fault,) = region_faults({"regions_class_order": [3, 2, 1]}, REGIONS)
    assert "[3, 2, 1]" in fault.what
    assert list(region_faults({}, dataclasses.replace(REGIONS, ignore=None)))
