"""A plan as a record: what it takes, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError
from fednnunet.planning.plan import read_plan
from tests.planning.cases import make_case, plan_of_cases

HIPPOCAMPI = [dataclasses.replace(make_case(i), shape_vox=(36, 50, 35)) for i in range(8)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(patch_vox=[41, 56, 40]), "not divisible"),
        (lambda c: c.update(batch=0), "batch"),
        (lambda c: c.update(normalisation=["zscore"]), "normalisation"),
        (lambda c: c["architecture"]["stages"][1].update(kernel=[2, 3, 3]), "odd"),
        (lambda c: c.update(colour="red"), "unknown field"),
        (lambda c: c.update(spacing_mm=[1.0, 1.0]), "spacing_mm"),
    ],
)
def test_a_plan_edited_into_an_impossible_one_is_refused(
    change: object, message: str, tmp_path: Path
) -> None:
    data = records.encode(plan_of_cases(HIPPOCAMPI))
    data["configurations"] = [c for c in data["configurations"] if c["name"] == "3d_fullres"]
    change(data["configurations"][0])  # type: ignore[operator]
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(FedNNUNetError, match=message) as caught:
        read_plan(path)
    assert "plan.json" in str(caught.value)
