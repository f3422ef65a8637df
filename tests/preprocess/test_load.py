from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fednnunet.errors import ManyFaults
from fednnunet.preprocess.load import label_counts, load_case, try_case
from fednnunet.volume import Geometry
from tests.preprocess.small_cases import SHAPE, TASK, a_case


def test_a_sound_case_is_read_with_its_types(tmp_path):
    image, label = load_case(a_case(tmp_path), TASK)
    assert image.array.shape == (1, *SHAPE)
    assert image.array.dtype == np.float32
    assert label.shape == SHAPE
    assert label.dtype == np.int16
    assert label.sum() == 3 * 4 * 5


def test_all_faults_of_a_case_are_raised_together(tmp_path):
    image, label = np.full(SHAPE, 3.0), np.zeros(SHAPE, np.uint8)
    image[0, 0, :2] = np.nan
    label[5, 5] = 9
    elsewhere = Geometry(spacing_mm=(2.0, 1.0, 1.0), origin_mm=(50.0, 0.0, 0.0))
    case = a_case(tmp_path, image=image, label=label, label_geometry=elsewhere)
    with pytest.raises(ManyFaults) as caught:
        load_case(case, TASK)
    text = str(caught.value)
    assert len(caught.value.faults) == 3
    for words in ("2 voxels that are NaN", "label 9", "not on its image's grid"):
        assert words in text


def test_a_label_map_is_read_though_the_image_is_damaged(tmp_path):
    case = a_case(tmp_path)
    case.images[0].write_bytes(b"no image")
    volume, label, faults = try_case(case, TASK)
    assert volume is None
    assert label is not None
    assert len(faults) == 1


def test_a_case_without_a_label_map_has_no_label(tmp_path):
    case = dataclasses.replace(a_case(tmp_path), label=None)
    assert load_case(case, TASK)[1] is None


def test_labels_are_counted_over_all_slices_also_negative_ones():
    label = np.array([[[-1, 0], [0, 2]], [[2, 2], [0, -1]]], np.int16)
    assert label_counts(label) == {-1: 2, 0: 3, 2: 3}
