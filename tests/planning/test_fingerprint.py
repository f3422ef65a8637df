from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.errors import DataError, FedNNUNetError, ReplyError
from fednnunet.planning.fingerprint import (
    LABEL_KINDS,
    Fingerprint,
    largest_volume,
)
from fednnunet.planning.orientation import ORIENTATIONS, UNKNOWN_ORIENTATION
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.validate import validate_shapes
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


def test_cases_are_counted_by_kind_and_class() -> None:
    whole, part, bare = (
        dataclasses.replace(case, kind=kind, annotated=annotated)
        for case, kind, annotated in zip(
            make_cases(3), ("full", "scribble", "none"), (None, (2,), ()), strict=True
        )
    )
    found = Fingerprint.of(TASK, [whole, part, bare])
    kinds = dict(zip(LABEL_KINDS, found.block("label_kinds").tolist(), strict=True))
    assert kinds["full"] == [1, 1, 1]
    assert kinds["scribble"] == [1, 0, 1]
    assert kinds["none"] == [1, 0, 0]
    assert found.annotated_cases() == {"organ": 1, "tumour": 2}
