from __future__ import annotations

import json
from pathlib import Path

import pytest

from fednnunet.errors import FedNNUNetError
from fednnunet.interop.case_list import plan_what_if, read_case_list, split

LIST = {
    "name": "made up",
    "channels": ["CT"],
    "n_labels": 2,
    "median_crop_ratio": 1.0,
    "cases": [{"spacing_mm": [2, 0.8, 0.8], "shape_vox": [90 + i, 300, 310]} for i in range(7)],
    "remark": "fields that planning does not use are ignored",
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps({k: v for k, v in (LIST | changes).items() if v is not None}))
    return path


def test_the_split_does_not_change_the_plan(tmp_path: Path) -> None:
    cases = read_case_list(write(tmp_path))
    plans = {sites: plan_what_if(cases, sites=sites, seed=sites).plan for sites in (1, 3, 7)}
    assert plans[1] == plans[3] == plans[7]
    assert plans[1].cases == 7


def test_every_site_has_a_case_and_every_case_a_site() -> None:
    for sites in (1, 2, 5, 20):
        parts = split(20, sites, seed=4)
        assert len(parts) == sites and all(parts)
        assert sorted(i for part in parts for i in part) == list(range(20))
    assert split(20, 5, seed=4) == split(20, 5, seed=4) != split(20, 5, seed=5)


def test_cases_may_stand_in_another_file(tmp_path: Path) -> None:
    write(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(LIST | {"cases": "as in list.json", "gpu_memory_gib": 24}))
    assert read_case_list(other).cases == read_case_list(tmp_path / "list.json").cases
    assert "24 GiB" in str(plan_what_if(read_case_list(other)).plan.reasons)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_labels": None}, "'n_labels' is missing"),
        ({"cases": []}, "0 cases"),
        ({"cases": [{"spacing_mm": [1, 1], "shape_vox": [1, 2, 3]}]}, "needs 3 values"),
        ({"cases": [{"spacing_mm": [1, 0, 1], "shape_vox": [1, 2, 3]}]}, "above 0"),
        ({"intensity": {"3": {}}}, "missing"),
        ({"channels": ["CT", "CT"]}, "twice"),
        ({"cases": "as in nowhere.json"}, "nowhere.json"),
    ],
)
def test_a_faulty_list_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(FedNNUNetError, match=message):
        plan_what_if(read_case_list(write(tmp_path, **changes)))


def test_more_sites_than_cases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FedNNUNetError, match="over 8 sites"):
        plan_what_if(read_case_list(write(tmp_path)), sites=8)
