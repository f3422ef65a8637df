"""Scores of masks from Python: means over sites, the labels' names, and faults told together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fednnunet
from fednnunet import io, records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.task import Task
from fednnunet.volume import Geometry
from tests.federation.fakes import a_plan

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))


def write_mask(path: Path, shift: int) -> None:
    """A box of 4 voxels along x, `shift` voxels further: Dice 1 - shift / 4 to the one at 0."""
    mask = np.zeros((4, 6, 12), np.uint8)
    mask[1:3, 1:5, 2 + shift : 6 + shift] = 1
    io.write_mask(mask, Geometry(spacing_mm=(1.0, 1.0, 1.0)), path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """References of two sites; `north` is predicted exactly, `south` half a box beside it."""
    for site, shift, cases in (("north", 0, 2), ("south", 2, 3)):
        for number in range(cases):
            write_mask(tmp_path / "references" / site / f"{site}_{number}.nii.gz", 0)
            write_mask(tmp_path / "masks" / site / f"{site}_{number}.nii.gz", shift)
    return tmp_path


SITES = {"north": Path("north"), "south": Path("south")}


def test_the_mean_is_over_sites_and_not_over_cases(folders: Path) -> None:
    told: list[tuple[str, int, int, str]] = []
    found = fednnunet.evaluate(
        folders / "masks",
        folders / "references",
        sites=SITES,
        task=TASK,
        progress=lambda *args: told.append(args),
    )
    assert {site: len(cases) for site, cases in found.cases.items()} == {"north": 2, "south": 3}
    assert found.mean() == pytest.approx((1 + 0.5) / 2)
    assert found.mean("iou") == pytest.approx((1 + 1 / 3) / 2)
    assert found.sums["south"].cases == 3
    assert ("north", 2, 2, "done") in told and ("south", 3, 3, "done") in told


def test_a_folder_without_sites_is_one_site(folders: Path) -> None:
    found = fednnunet.evaluate(
        folders / "masks" / "south", str(folders / "references" / "south"), task=TASK
    )
    assert list(found.cases) == ["all"]
    assert found.mean() == pytest.approx(0.5)


def test_the_labels_are_named_by_a_header_or_a_plan(folders: Path) -> None:
    header = {"labels": {"background": 0, "organ": 1}, "channel_names": {"0": "MRI"}}
    masks, references = folders / "masks" / "south", folders / "references" / "south"
    with pytest.raises(InputError, match="names of the labels are not known"):
        fednnunet.evaluate(masks, references)
    records.write(a_plan(), folders / "run" / "plan.json")
    named_by_plan = fednnunet.evaluate(masks, references, task=folders / "run")
    assert named_by_plan.task.labels == a_plan().task.labels
    (folders / "references" / "dataset.json").write_text(json.dumps(header))
    assert fednnunet.evaluate(masks, references).task.labels == TASK.labels


def test_the_faults_of_all_sites_are_told_together(folders: Path) -> None:
    for name in ("north/north_0", "south/south_1"):
        (folders / "masks" / f"{name}.nii.gz").unlink()
    with pytest.raises(FedNNUNetError) as caught:
        fednnunet.evaluate(folders / "masks", folders / "references", sites=SITES, task=TASK)
    assert "north_0" in str(caught.value) and "south_1" in str(caught.value)


def test_a_missing_prediction_is_left_out_where_that_is_asked_for(folders: Path) -> None:
    (folders / "masks" / "south" / "south_1.nii.gz").unlink()
    found = fednnunet.evaluate(
        folders / "masks" / "south", folders / "references" / "south", task=TASK, partial=True
    )
    assert len(found.cases["all"]) == 2
