"""Pairing masks by name, and the labels that a dataset.json names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fednnunet import io
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.evaluation.folders import pair_cases, read_patients, read_task, score_pairs
from fednnunet.task import Task
from fednnunet.volume import Geometry

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))


def _mask(path: Path, *, value: int = 1, spacing: float = 1.0) -> None:
    mask = np.zeros((5, 6, 7), np.uint8)
    mask[1:4, 2:5, 2:5] = value
    io.write_mask(mask, Geometry(spacing_mm=(spacing, 1.0, 1.0)), path)


def test_formats_may_differ(tmp_path: Path) -> None:
    _mask(tmp_path / "p" / "a.nrrd")
    _mask(tmp_path / "r" / "a.nii.gz")
    (score,) = score_pairs(pair_cases(tmp_path / "p", tmp_path / "r"), TASK)
    assert score.case == "a"
    assert score.dice == 1.0


def test_a_missing_prediction_is_a_fault_unless_partial(tmp_path: Path) -> None:
    for path in ("p/a.nii.gz", "r/a.nii.gz", "r/b.nii.gz", "r/c.nii.gz"):
        _mask(tmp_path / path)
    with pytest.raises(FedNNUNetError, match="2 faults"):
        pair_cases(tmp_path / "p", tmp_path / "r")
    assert len(pair_cases(tmp_path / "p", tmp_path / "r", partial=True)) == 1


def test_all_bad_masks_are_listed_at_once(tmp_path: Path) -> None:
    _mask(tmp_path / "p" / "a.nii.gz", value=7)
    _mask(tmp_path / "p" / "b.nii.gz", spacing=2.0)
    for name in "ab":
        _mask(tmp_path / "r" / f"{name}.nii.gz")
    with pytest.raises(FedNNUNetError) as caught:
        score_pairs(pair_cases(tmp_path / "p", tmp_path / "r"), TASK)
    assert "label 7 is not one of" in str(caught.value)
    assert "spacing" in str(caught.value)


def test_nothing_in_common_is_a_fault(tmp_path: Path) -> None:
    _mask(tmp_path / "p" / "a_0000.nii.gz")
    _mask(tmp_path / "r" / "a.nii.gz")
    with pytest.raises(InputError, match="same name"):
        pair_cases(tmp_path / "p", tmp_path / "r")


@pytest.mark.parametrize(
    ("labels", "targets", "values"),
    [
        ({"background": 0, "organ": 1, "nodule": 2}, ("organ", "nodule"), (0, 1, 2)),
        ({"0": "background", "1": "organ"}, ("organ",), (0, 1)),
        ({"background": 0, "whole": [1, 2], "core": [2]}, ("whole", "core"), (0, 1, 2)),
        ({"background": 0, "organ": 1, "ignore": 2}, ("organ",), (0, 1, 2)),
    ],
)
def test_labels_of_a_dataset_file(
    tmp_path: Path, labels: dict[str, object], targets: tuple[str, ...], values: tuple[int, ...]
) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"channel_names": {"0": "MRI"}, "labels": labels}))
    task = read_task(path)
    assert task.targets == targets
    assert task.values == values


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": 3}', '{"labels": {"a": null}}'])
def test_a_dataset_file_without_labels_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match="labels"):
        read_task(tmp_path / "dataset.json")


def test_groups_name_the_patients(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"groups": {"a": "p1", "b": 1}}))
    assert read_patients(path) == {"a": "p1", "b": "1"}
    path.write_text("{}")
    assert read_patients(path) == {}
    path.write_text('{"groups": [1]}')
    with pytest.raises(InputError, match="groups"):
        read_patients(path)
