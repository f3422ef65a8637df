"""Volumes are turned into the plan's orientation without a change of any voxel, and back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fednnunet.planning.orientation import AS_STORED, ORIENTATIONS
from fednnunet.preprocess.measure import measure_case
from fednnunet.preprocess.orient import Turn, orientation_code
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume
from tests.preprocess.turned import stored_as

ARRAY = np.arange(4 * 5 * 6, dtype=np.float32).reshape(1, 4, 5, 6)


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_a_turn_is_undone(code):
    turn = Turn.between("RAS", code)
    turned = turn.apply(ARRAY)
    assert np.array_equal(turn.undo(turned), ARRAY)
    assert np.array_equal(Turn.between(code, "RAS").apply(turned), ARRAY)
    assert np.array_equal(turn.apply(ARRAY[0]), turned[0])


def test_axes_and_flips_are_those_of_the_letters():
    turn = Turn.between("RAS", "PIR")  # x grows to posterior, y to inferior, z to right
    turned = turn.apply(ARRAY[0])
    assert turned.shape == (6, 4, 5)
    assert turned[1, 0, 0] == ARRAY[0, -1, -1, 1]
    assert turn.order((4.0, 5.0, 6.0)) == (6.0, 4.0, 5.0)


@pytest.mark.parametrize("code", ["", AS_STORED])
def test_nothing_is_turned_without_an_orientation(code):
    assert Turn.between("RAS", code) == Turn.between(code, "RAS") == Turn()


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_what_is_measured_does_not_depend_on_how_a_volume_is_stored(code):
    task = Task(name="t", channels=("MRI",), labels=("background", "organ"))
    geometry = Geometry(spacing_mm=(3.0, 1.0, 2.0), origin_mm=(1.0, 2.0, 3.0))
    label = (ARRAY[0] % 7 > 4).astype(np.int16)
    case = measure_case(Volume(array=ARRAY, geometry=geometry), label, task)
    volume = stored_as(Volume(array=ARRAY, geometry=geometry), code)
    turned = stored_as(Volume(array=label[None], geometry=geometry), code)
    assert orientation_code(volume.geometry) == code
    other = measure_case(volume, turned.array[0], task)
    assert (other.spacing_mm, other.shape_vox) == (case.spacing_mm, case.shape_vox)
    assert (other.crop_ratio, other.voxels_per_label) == (case.crop_ratio, case.voxels_per_label)
    assert other.orientation == code


@pytest.mark.parametrize(
    ("direction", "letters"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), "LPS"),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), "RAS"),
        ((0, 0, 1, 1, 0, 0, 0, -1, 0), "PIL"),
    ],
)
def test_the_orientation_names_the_axes(direction, letters):
    geometry = dataclasses.replace(Geometry(spacing_mm=(1.0, 1.0, 1.0)), direction=direction)
    assert orientation_code(geometry) == letters
