from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fednnunet.errors import DataError
from fednnunet.preprocess.pipeline import native_array, prepare_volume
from fednnunet.volume import Geometry, Volume
from tests.training.fakes import small_plan


def a_volume(shape=(14, 20, 16), spacing=(1.0, 1.0, 1.0), margin=3):
    rng = np.random.default_rng(5)
    array = np.zeros((1, *shape), np.float32)
    inner = tuple(slice(margin, n - margin) for n in shape)
    array[(0, *inner)] = rng.normal(100, 20, [n - 2 * margin for n in shape])
    label = np.zeros(shape, np.int16)
    label[tuple(slice(n // 2 - 2, n // 2 + 2) for n in shape)] = 1
    return Volume(array=array, geometry=Geometry(spacing_mm=spacing)), label


def test_zeros_around_the_patient_are_cropped_and_the_rest_is_a_zscore():
    volume, label = a_volume()
    plan, configuration = small_plan()
    prepared = prepare_volume(volume, plan, configuration, label)
    assert prepared.data.shape == (1, 8, 14, 10)
    assert prepared.seg is not None
    assert abs(float(prepared.data.mean())) < 1e-4
    assert abs(float(prepared.data.std()) - 1) < 1e-4


def test_ct_is_clipped_and_scaled_by_the_federation():
    volume, label = a_volume()
    plan, configuration = small_plan()
    ranges = dataclasses.replace(
        plan.intensity[0], mean=90.0, std=10.0, percentile_00_5=80.0, percentile_99_5=110.0
    )
    plan = dataclasses.replace(plan, intensity=(ranges,))
    configuration = dataclasses.replace(configuration, normalisation=("ct",))
    data = prepare_volume(volume, plan, configuration, label).data
    assert float(data.min()) == pytest.approx(-1.0)
    assert float(data.max()) == pytest.approx(2.0)


def test_outside_the_mask_there_is_no_label():
    volume, label = a_volume(margin=3)
    volume.array[0, 3:6, 3:8, 3:8] = 0
    volume.array[0, 3, 3, 12] = 50
    plan, configuration = small_plan()
    prepared = prepare_volume(volume, plan, configuration, label)
    assert prepared.seg is not None
    assert prepared.seg[0, 0, 0] == -1
    assert prepared.seg[4, 8, 5] >= 0


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_way_back_is_the_way_there(transpose):
    volume, label = a_volume()
    plan, configuration = small_plan()
    plan = dataclasses.replace(plan, transpose=transpose)
    prepared = prepare_volume(volume, plan, configuration, label)
    assert prepared.seg is not None
    native, view = native_array(prepared.placement, np.uint8)
    view[...] = np.maximum(prepared.seg, 0)
    assert native.shape == label.shape
    assert np.array_equal(native, label)


def test_the_plan_decides_the_spacing():
    volume, label = a_volume(spacing=(2.0, 1.0, 1.0), margin=0)
    plan, configuration = small_plan()
    prepared = prepare_volume(volume, plan, configuration, label)
    assert prepared.data.shape == (1, 28, 20, 16)


def test_inputs_are_left_as_they_are():
    volume, label = a_volume()
    before = volume.array.copy(), label.copy()
    prepare_volume(volume, *small_plan(), label)
    assert np.array_equal(volume.array, before[0])
    assert np.array_equal(label, before[1])


def test_a_label_of_another_shape_is_refused():
    volume, label = a_volume()
    with pytest.raises(DataError, match="shape"):
        prepare_volume(volume, *small_plan(), label[:-1])
