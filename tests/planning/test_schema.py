from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cases import make_cases, plan_of_cases

from fednnunet import records
from fednnunet.planning.plan import (
    Architecture,
    Configuration,
    Intensity,
    Plan,
    Reason,
    Resampling,
    Stage,
)
from fednnunet.schema import json_schema
from fednnunet.task import Task

PLANS = Path(__file__).resolve().parents[2] / "plans"


def test_the_schema_lists_what_reading_asks_for() -> None:
    schema = json_schema(Plan, title="plan")
    definition = schema["$defs"]["Plan"]
    data = records.encode(plan_of_cases(make_cases(3)))
    assert set(data) == set(definition["properties"])
    assert "schema" not in definition["required"] and "task" in definition["required"]
    assert schema["$defs"]["Configuration"]["properties"]["previous"] == {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }
    assert schema["$defs"]["Plan"]["properties"]["transpose"]["minItems"] == 3


@pytest.mark.parametrize(
    "kind", [Plan, Task, Configuration, Architecture, Stage, Resampling, Intensity, Reason]
)
def test_every_field_of_a_plan_is_explained_in_the_readme(kind: type) -> None:
    text = (PLANS / "README.md").read_text()
    for field in dataclasses.fields(kind):
        assert f"`{field.name}`" in text, f"{kind.__name__}.{field.name}"
