"""A run folder that the example for Python programs made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import fednnunet
from tests.end_to_end.tiny import make_federation, plain_pages, shrink

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, made by the example with a network of two stages; `hospitals` is beside it."""
    root = tmp_path_factory.mktemp("api")
    federation, run = make_federation(root / "hospitals"), root / "run"
    spec = importlib.util.spec_from_file_location("whole_way", ROOT / "examples" / "whole_way.py")
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    whole = fednnunet.plan

    def small(*given: object, **named: object) -> object:
        plan = whole(*given, **named)
        shrink(run / "plan.json")
        return plan

    with pytest.MonkeyPatch.context() as patch, plain_pages():
        patch.setattr(fednnunet, "plan", small)
        assert 0 <= example.main(federation, run) <= 1
    return run
