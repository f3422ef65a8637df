"""What a confident model's mask says against a label map."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

from fednnunet.evaluation.label_faults import (
    LabelFaults,
    Maps,
    corrected,
    find_faults,
    signed_distance_mm,
)
from fednnunet.supervision import UNKNOWN, Supervision
from fednnunet.task import Task
from tests.conftest import ROOT

TASK = Task(name="t", channels=("MRI",), labels=("background", "head", "tail"))
ISO = (1.0, 1.0, 1.0)


def ball(radius: float, centre: tuple[float, ...] = (12, 12, 12), size: int = 25) -> np.ndarray:
    places = np.indices((size,) * 3)
    away = sum((p - c) ** 2 for p, c in zip(places, centre, strict=True))
    return np.asarray(away <= radius**2)


def scene(shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Two balls that touch: class 1 at low z, class 2 at high z."""
    dy, dx = shift
    mask = np.zeros((25, 25, 25), np.int16)
    mask[ball(5, (7, 12 + dy, 12 + dx))] = 1
    mask[ball(5, (17, 12 + dy, 12 + dx))] = 2
    return mask


def faults(
    labels: np.ndarray,
    predicted: np.ndarray,
    *,
    entropy: np.ndarray | None = None,
    supervision: Supervision | None = None,
    task: Task = TASK,
    spacing: tuple[float, float, float] = ISO,
) -> LabelFaults:
    maps = maps_of(labels, predicted, entropy, spacing)
    return find_faults("case", maps, supervision or Supervision(), task)


def maps_of(
    labels: np.ndarray,
    predicted: np.ndarray,
    entropy: np.ndarray | None = None,
    spacing: tuple[float, float, float] = ISO,
) -> Maps:
    unsure = np.zeros(labels.shape, np.float32) if entropy is None else entropy
    return Maps(labels=labels, predicted=predicted, entropy=unsure, spacing_mm=spacing)


def test_the_disagreement_is_computed_by_hand() -> None:
    labels, predicted = np.zeros((2, 1, 1, 8), np.int16)
    labels[0, 0, :4] = 1
    predicted[0, 0, 2:4] = 1
    predicted[0, 0, 6:8] = 2
    entropy = np.zeros((1, 1, 8), np.float32)
    entropy[0, 0, 0], entropy[0, 0, 7] = 0.5, 0.25
    found = faults(labels, predicted, entropy=entropy, spacing=(2.0, 1.0, 1.0))
    head, tail = found.classes
    assert head.disagreement == pytest.approx((0.5 + 1) / (4 + 2))
    assert tail.disagreement == pytest.approx((1 + 0.75) / 2)
    assert found.disagreement == pytest.approx((0.25 + 0.875) / 2)
    assert (head.labelled_ml, head.predicted_ml) == (pytest.approx(0.008), pytest.approx(0.004))
    assert (tail.signed_mm, tail.shift_mm) == (None, None)
    assert found.findings == ("tail is not labelled",)


def test_equal_maps_have_no_fault_and_neither_have_empty_ones() -> None:
    same = faults(scene(), scene())
    assert same.disagreement == 0 and same.findings == ()
    nothing = np.zeros((4, 4, 4), np.int16)
    assert faults(nothing, nothing).classes == () and faults(nothing, nothing).disagreement == 0


@pytest.mark.parametrize(("radius", "words"), [(8, "larger (dilated)"), (4, "smaller (eroded)")])
def test_dilated_and_eroded_maps_are_told_apart(radius: float, words: str) -> None:
    labels, predicted = (ball(r).astype(np.int16) for r in (radius, 6))
    found = faults(labels, predicted, spacing=(2.0, 2.0, 2.0))
    assert found.classes[0].signed_mm == pytest.approx((radius - 6) * 2, abs=0.8)
    assert words in found.findings[0]
    assert found.classes[0].shift_mm == pytest.approx((0, 0, 0), abs=1e-9)


def test_signed_distances_of_two_slabs() -> None:
    wide, narrow = np.zeros((2, 1, 1, 9), bool)
    wide[0, 0, 1:8], narrow[0, 0, 3:6] = True, True
    # all voxels of one line are surface: 2, 1, 0, 0, 0, 1, 2 from the wide one, 0 from the other
    assert signed_distance_mm(wide, narrow, (1, 1, 3.0)) == pytest.approx(3 * 6 / 10)
    assert signed_distance_mm(narrow, wide, (1, 1, 3.0)) == pytest.approx(-3 * 6 / 10)


def test_a_shifted_map_is_told_by_its_vector() -> None:
    found = faults(scene((4, 0)), scene(), spacing=(1.0, 1.5, 1.0))
    assert found.classes[0].shift_mm == pytest.approx((0, 6, 0), abs=1e-6)
    assert found.findings == ("head is shifted by 6.0 mm", "tail is shifted by 6.0 mm")


def test_swapped_classes_are_named_and_nothing_else() -> None:
    labels = scene()
    turned = np.where(labels > 0, 3 - labels, 0)
    assert faults(turned, labels).findings == ("head and tail are swapped",)
    assert faults(turned, labels).disagreement == 1


def test_a_class_that_the_model_does_not_find_is_said() -> None:
    found = faults(scene(), np.where(scene() == 1, 1, 0))
    assert found.findings == ("tail is labelled where the model finds none",)
    unsure = np.ones((25, 25, 25), np.float32)
    assert faults(scene(), np.where(scene() == 1, 1, 0), entropy=unsure).findings == ()


def test_only_annotated_classes_and_known_voxels_count() -> None:
    partial = Supervision(kind="partial", annotated=(1,))
    labels = np.where(scene() == 1, 1, 0).astype(np.int16)
    assert faults(labels, scene(), supervision=partial).disagreement == 0
    ignoring = Task(name="t", channels=("MRI",), labels=("background", "head", "tail"), ignore=3)
    labels = scene()
    labels[labels == 2] = 3
    assert faults(labels, scene(), task=ignoring).disagreement == 0


def test_the_corrected_map_takes_the_model_where_it_is_sure() -> None:
    labels, predicted = np.zeros((2, 1, 1, 5), np.int16)
    labels[0, 0] = [1, 1, 0, 2, UNKNOWN]
    predicted[0, 0] = [2, 2, 2, 0, 1]
    entropy = np.array([[[0.1, 0.3, 0.2, 0.0, 0.0]]], np.float32)
    maps = maps_of(labels, predicted, entropy)
    assert corrected(maps, Supervision(), TASK).tolist() == [[[2, 1, 2, 0, UNKNOWN]]]
    partial = Supervision(kind="partial", annotated=(1,))
    assert corrected(maps, partial, TASK).tolist() == [[[0, 1, 0, 0, UNKNOWN]]]
    assert corrected(maps, Supervision(), TASK, sure=0.0).tolist() == [[[1, 1, 0, 0, UNKNOWN]]]


@pytest.fixture
def marks() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import weaken_marks

        yield weaken_marks
        sys.modules.pop("weaken_marks", None)


def test_wrong_maps_come_first_even_for_a_model_that_errs(marks: ModuleType) -> None:
    """20 % of 40 maps swapped or shifted by 4 voxels: all are within the first 30 %."""
    rng = np.random.default_rng(0)
    found, wrong = {}, set()
    for number in range(40):
        y, x = rng.uniform(-3, 3, 2)
        truth = scene((float(y), float(x)))
        smooth = ndimage.gaussian_filter(rng.normal(size=truth.shape), 2)
        rough = np.where(smooth > smooth.std(), 0, truth)  # a fifth of every structure is missed
        border = ndimage.gaussian_filter((truth > 0).astype(np.float32), 1)
        entropy = 1 - np.abs(2 * border - 1)
        labels = truth
        if number % 5 == 0:
            kind = "swapped" if number % 10 else "shifted"
            labels = marks.FAULTS[kind](truth, rng, 4)
            wrong.add(number)
        found[number] = faults(labels, rough.astype(np.int16), entropy=entropy).disagreement
    first = sorted(found, key=found.__getitem__, reverse=True)[: 40 * 3 // 10]
    assert len(wrong & set(first)) >= 0.9 * len(wrong)
