from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.errors import DataError, FedNNUNetError, InputError, ReplyError
from fednnunet.planning.fingerprint import (
    LABEL_KINDS,
    ORIENTATIONS,
    UNKNOWN_ORIENTATION,
    Fingerprint,
    largest_volume,
)
from fednnunet.planning.record import read_fingerprint, write_fingerprint
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.validate import validate, validate_shapes
from fednnunet.task import Task
from tests.planning.cases import TASK, exchanges, make_case, make_cases

CASES = make_cases(12)
WHOLE = Fingerprint.of(TASK, CASES)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)), st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_any_partition_in_any_order_gives_the_same_bits(order: list[int], sites: list[int]) -> None:
    parts = [[CASES[i] for i in order if sites[i] == site] for site in range(4)]
    total = Fingerprint.empty(TASK)
    for part in parts:
        total = Fingerprint.of(TASK, part) + total
    assert total.to_vector().tobytes() == WHOLE.to_vector().tobytes()


def test_empty_is_neutral_and_the_vector_comes_back() -> None:
    assert (WHOLE + Fingerprint.empty(TASK)).vector.tobytes() == WHOLE.vector.tobytes()
    back = Fingerprint.from_vector(TASK, WHOLE.to_vector())
    assert back.vector.tobytes() == WHOLE.vector.tobytes()


def test_what_a_site_sends_does_not_grow_with_its_cases() -> None:
    one = Fingerprint.of(TASK, CASES[:1]).to_vector()
    assert one.shape == WHOLE.to_vector().shape


def test_cases_and_voxels_are_counted_per_label() -> None:
    assert WHOLE.cases == 12
    assert WHOLE.label_cases() == {"background": 12, "organ": 12, "tumour": 6}
    assert WHOLE.block("voxels_per_label")[1:].tolist() == [12 * 150, 6 * 50]


def test_orientations_and_kinds_of_labels_are_counted() -> None:
    assert len(ORIENTATIONS) == len(set(ORIENTATIONS)) == 48 and "RAS" in ORIENTATIONS
    cases = [dataclasses.replace(CASES[0], orientation="RAS", kind="box"), *CASES[1:3]]
    total = Fingerprint.of(TASK, cases)
    codes = total.block("orientation")
    assert codes[ORIENTATIONS.index("RAS")] == 1 and codes[UNKNOWN_ORIENTATION] == 2
    kinds = dict(zip(LABEL_KINDS, total.block("label_kinds").tolist(), strict=True))
    assert kinds["box"] == [1, 1, 1] and kinds["full"] == [2, 2, 2] and kinds["none"] == [0, 0, 0]


def test_the_largest_volume_bounds_all_cases_together() -> None:
    volumes = sum(np.prod(case.shape_vox) for case in CASES)
    assert volumes <= largest_volume(WHOLE) <= 1.2 * volumes
    assert largest_volume(Fingerprint.of(TASK, CASES[:1])) == np.prod(CASES[0].shape_vox)
    assert largest_volume(Fingerprint.empty(TASK)) == 0


def test_a_fingerprint_survives_its_file(tmp_path: Path) -> None:
    write_fingerprint(WHOLE, tmp_path / "fingerprint.json")
    assert (
        read_fingerprint(tmp_path / "fingerprint.json").vector.tobytes() == WHOLE.vector.tobytes()
    )


def test_a_file_with_other_bins_or_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.json"
    write_fingerprint(WHOLE, path)
    data = json.loads(path.read_text())
    for change in ({"bins": "spacing 7"}, {"schema": 99}, {"schema": 1}):
        path.write_text(json.dumps(data | change))
        with pytest.raises(FedNNUNetError, match="bins") as caught:
            read_fingerprint(path)
        assert "measure again with preprocessing/fingerprint_site.py" in str(caught.value)
    path.write_text(json.dumps(data | {"parts": {}}))
    with pytest.raises(ReplyError, match="cases"):
        read_fingerprint(path)
    misplaced = data["parts"] | {"cases": {"places": [3], "values": [12.0]}}
    path.write_text(json.dumps(data | {"parts": misplaced}))
    with pytest.raises(ReplyError, match="outside"):
        read_fingerprint(path)


@pytest.mark.parametrize(
    ("block", "place", "value", "message"),
    [
        ("cases", 0, -1, "number of cases"),
        ("cases", 0, 11, "counts 12 cases, not 11"),
        ("spacing_z", (0, 5), -1, "negative"),
        ("shape_y", 50, 0.5, "not whole numbers"),
        ("crop_ratio", (0, 3), 7, "crop ratio counts"),
        ("foreground_0", (1, 400), 3, "channel T1"),
        ("foreground_1", (1, 400), -3, "channel CT"),
        ("cases_per_label", 1, 13, "of 12 cases, 12 have foreground"),
        ("voxels_per_label", 1, 0, "voxels per label"),
        ("foreground_1", (3, 9000), np.nan, "not finite"),
        ("shape_x", 7, np.inf, "not finite"),
    ],
)
def test_impossible_sums_are_refused_with_the_site(
    block: str, place: object, value: float, message: str
) -> None:
    bad = Fingerprint.from_vector(TASK, WHOLE.to_vector())
    bad.block(block)[place] = value  # type: ignore[index]
    with pytest.raises(FedNNUNetError, match=message) as caught:
        validate(bad, site="berlin")
    assert "site berlin" in str(caught.value)
    validate(WHOLE, site="berlin")


def test_all_faults_of_a_reply_are_listed_at_once() -> None:
    bad = Fingerprint.from_vector(TASK, WHOLE.to_vector())
    bad.block("spacing_z")[0, 5] = -1
    bad.block("shape_y")[7] = -2
    with pytest.raises(InputError, match="spacing z") as caught:
        validate(bad, site="berlin")
    assert "shape y" in str(caught.value)


def test_another_length_or_task_is_refused() -> None:
    with pytest.raises(ReplyError, match="other bins") as caught:
        Fingerprint.from_vector(TASK, np.zeros(7), site="berlin")
    assert "berlin" in str(caught.value)
    other = Task(name="other", channels=("T1", "T2"), labels=TASK.labels)
    with pytest.raises(ReplyError, match="different tasks"):
        _ = WHOLE + Fingerprint.empty(other)


def test_shapes_of_another_count_or_spacing_are_refused() -> None:
    _, shapes = exchanges(CASES)
    validate_shapes(shapes, site="berlin", cases=12)
    with pytest.raises(FedNNUNetError, match="not 11"):
        validate_shapes(shapes, site="berlin", cases=11)
    with pytest.raises(ReplyError, match="same spacing"):
        _ = shapes + ShapeSketch.empty((9.0, 9.0, 9.0))
    with pytest.raises(ReplyError, match="bins"):
        ShapeSketch.from_vector(shapes.spacing_mm, np.zeros(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape_vox": (10, 20_000, 10)}, "20000 voxels long"),
        ({"spacing_mm": (0.0, 1.0, 1.0)}, "spacing"),
        ({"spacing_mm": (float("nan"), 1.0, 1.0)}, "spacing"),
        ({"voxels_per_label": (1, 2)}, "2 labels"),
        ({"orientation": "XYZ"}, "XYZ"),
        ({"kind": "banana"}, "banana"),
    ],
)
def test_a_case_that_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Fingerprint.of(TASK, [dataclasses.replace(make_case(0), **change)])
