"""A method or a recipe is registered for this process; nothing of the package is replaced."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import fednnunet
from fednnunet.errors import InputError
from fednnunet.federation.methods import catalogue
from fednnunet.federation.methods.fedavg import FedAvg
from fednnunet.training import recipe as recipes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own_method(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example's module, and tables that are put back afterwards."""
    for table in ("SETTINGS", "PRESETS", "METHODS", "_PRESET_NAMES"):
        before = dict(getattr(catalogue, table))
        monkeypatch.setattr(catalogue, table, getattr(catalogue, table))
        tables.append((getattr(catalogue, table), before))
    tables.append((recipes.RECIPES, dict(recipes.RECIPES)))
    path = ROOT / "examples" / "own_method" / "own_method.py"
    spec = importlib.util.spec_from_file_location("own_method_example", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "own_method_example", module)
    spec.loader.exec_module(module)
    yield module
    while tables:
        table, before = tables.pop()
        table.clear()
        table.update(before)


tables: list[tuple[dict, dict]] = []


def test_a_registered_method_is_known_by_its_tag(own_method: ModuleType) -> None:
    fednnunet.register_method(own_method.MostlyShared)
    fednnunet.register_method(own_method.MostlyShared)  # twice is once
    settings = catalogue.CHOICE.preset("mostly_shared")
    assert catalogue.label(settings) == "mostly_shared"
    assert catalogue.label(own_method.MostlyShared(weight=0.5)) == "mostly_shared_weight=0.5"
    names = ["encoder.stages.0.0.conv.weight"]
    assert settings.build().shared(dict.fromkeys(names, torch.zeros(1)))


def test_a_name_is_taken_once(own_method: ModuleType) -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Other(FedAvg):
        tag = "fedprox"

    with pytest.raises(InputError, match="there is a method 'fedprox' already"):
        fednnunet.register_method(Other)
    with pytest.raises(InputError, match="not the settings of a method"):
        fednnunet.register_method(int)  # type: ignore[type-var]
    other = dataclasses.replace(own_method.GENTLE, name="fast")
    with pytest.raises(InputError, match="there is a recipe 'fast' already"):
        fednnunet.register_recipe(other)


def test_a_registered_recipe_is_known_by_its_name(own_method: ModuleType) -> None:
    fednnunet.register_recipe(own_method.GENTLE)
    assert recipes.recipe_named("gentle").learning_rate == 1e-3
