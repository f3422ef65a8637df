import numpy as np
import pytest

from fednnunet.preprocess.locations import class_locations
from fednnunet.supervision import UNKNOWN
from fednnunet.task import Task


def _task(ignore=None):
    return Task(name="t", channels=("MR",), labels=("background", "a", "b", "c"), ignore=ignore)


def test_small_classes_are_taken_whole_and_large_ones_by_number_or_share():
    seg = np.zeros((30, 200, 250), np.int16)
    seg[:25] = 1  # 1,250,000 voxels: 1 % of them
    seg[25:, :100] = 2  # 125,000 voxels: 10,000 of them
    seg[29, 150, :7] = 3
    table = class_locations(seg, _task())
    assert {int(v): int((table[:, 0] == v).sum()) for v in (1, 2, 3)} == {
        1: 12_500,
        2: 10_000,
        3: 7,
    }
    z, y, x = table[:, 1:].T
    assert np.array_equal(seg[z, y, x], table[:, 0])
    assert len(np.unique(table[:, 1:], axis=0)) == len(table)
    assert np.array_equal(table, class_locations(seg, _task()))


def test_voxels_are_drawn_evenly():
    seg = np.ones((40, 100, 100), np.int16)
    z, _, x = class_locations(seg, _task())[:, 1:].T
    assert z.mean() == pytest.approx(19.5, abs=0.6)
    assert x.mean() == pytest.approx(49.5, abs=1.5)


def test_an_ignore_label_adds_all_annotated_voxels():
    seg = np.full((4, 5, 6), 9, np.int16)
    seg[1] = 0
    seg[2, 0] = 1
    seg[2, 1] = -1
    table = class_locations(seg, _task(ignore=9))
    assert (table[:, 0] == -1).sum() == (seg != 9).sum()
    assert (table[:, 0] == 1).sum() == 6


def test_no_foreground_gives_no_rows():
    assert class_locations(np.zeros((3, 4, 5), np.int16), _task()).shape == (0, 4)


def test_of_marks_only_known_voxels_are_kept():
    seg = np.full((4, 5, 6), UNKNOWN, np.int16)
    seg[1, 1, 1:3], seg[2, 2, 2] = 1, 0
    table = class_locations(seg, _task(), "scribble")
    assert {tuple(row) for row in table} == {
        (1, 1, 1, 1), (1, 1, 1, 2), (-1, 1, 1, 1), (-1, 1, 1, 2), (-1, 2, 2, 2),
    }  # fmt: skip


def test_of_boxes_the_voxels_inside_are_kept_for_each_class():
    seg = np.zeros((4, 5, 6), np.int16)
    seg[0, 0, 0], seg[1, 1, 1], seg[2, 2, 2] = 1, 4, 5
    table = class_locations(seg, _task(), "box")
    assert {tuple(row) for row in table} == {
        (1, 0, 0, 0), (1, 2, 2, 2), (3, 1, 1, 1), (3, 2, 2, 2),
    }  # fmt: skip


def test_of_a_case_without_labels_nothing_is_kept():
    seg = np.full((4, 5, 6), UNKNOWN, np.int16)
    assert class_locations(seg, _task(), "none").shape == (0, 4)
