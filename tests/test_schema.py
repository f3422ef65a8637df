from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Federation
from fednnunet.planning.plan import (
    Architecture,
    Configuration,
    Intensity,
    Plan,
    Reason,
    Resampling,
    Stage,
)
from fednnunet.planning.presets import PLANNERS
from fednnunet.schema import json_schema
from fednnunet.task import Task
from tests.planning.cases import make_cases, plan_of_cases
from tests.schema_check import faults

PLANS = Path(__file__).resolve().parents[1] / "plans"


def test_the_schema_lists_what_reading_asks_for() -> None:
    schema = json_schema(Plan, title="plan")
    definition = schema["$defs"]["Plan"]
    data = records.encode(plan_of_cases(make_cases(3)))
    assert set(data) == set(definition["properties"])
    assert "schema" not in definition["required"] and "task" in definition["required"]
    previous = schema["$defs"]["Configuration"]["properties"]["previous"]
    assert previous["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert previous["default"] is None and "cascade" in previous["description"]
    assert schema["$defs"]["Plan"]["properties"]["transpose"]["minItems"] == 3


@pytest.mark.parametrize(
    "kind", [Plan, Task, Configuration, Architecture, Stage, Resampling, Intensity, Reason]
)
def test_every_field_of_a_plan_is_explained_in_the_readme(kind: type) -> None:
    text = (PLANS / "README.md").read_text()
    for field in dataclasses.fields(kind):
        assert f"`{field.name}`" in text, f"{kind.__name__}.{field.name}"


def test_descriptions_and_defaults_are_in_the_schema() -> None:
    definitions = json_schema(Federation, title="federation")["$defs"]
    rounds = definitions["Training"]["properties"]["rounds"]
    assert (rounds["type"], rounds["default"]) == ("integer", 40)
    assert rounds["description"].startswith("Number of joint rounds.")
    assert definitions["Budget"]["properties"]["planner"]["enum"] == sorted(PLANNERS)
    assert definitions["Task"]["required"] == ["name", "channels", "labels"]
    assert "default" not in definitions["Federation"]["properties"]["training"]


@pytest.mark.parametrize(
    ("method", "good"),
    [
        ("fedprox", True),
        ("fedbn_head", True),
        ({"name": "fedprox", "mu": 0.1, "private": ["norm"]}, True),
        ({"name": "fedprox", "nu": 0.1}, False),
        ({"name": "fedprox", "mu": "0.1"}, False),
        ({"mu": 0.1}, False),
        ("fedpox", False),
    ],
)
def test_a_method_is_a_name_or_a_table_of_settings(method: object, good: bool) -> None:
    data = tomllib.loads((PLANS / "hippocampus.toml").read_text())
    data["training"]["method"] = method
    found = faults(json_schema(Federation, title="federation"), data)
    assert (found == []) == good
    assert found == [] or found == ["$.training.method: none of the options"]


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.toml")), ids=lambda path: path.name)
def test_the_worked_examples_follow_their_schema(path: Path) -> None:
    data = tomllib.loads(path.read_text())
    kind = Federation if "task" in data else SitePolicy
    assert faults(json_schema(kind, title=path.stem), data) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("public_rounds", "closing_rounds", "unknown closing_rounds"),
        ('planner = "cpu"', 'planner = "gpu"', "$.budget.planner"),
        ("rounds = 10", 'rounds = "ten"', "$.training.rounds"),
        ('name = "hippocampus"', "", "$.task: no name"),
        ('"MRI"', "3", "$.task.channels[0]"),
    ],
)
def test_the_schema_refuses_what_reading_refuses(old: str, new: str, message: str) -> None:
    text = (PLANS / "hippocampus.toml").read_text().replace(old, new, 1)
    found = faults(json_schema(Federation, title="federation"), tomllib.loads(text))
    assert len(found) == 1 and message in found[0]
