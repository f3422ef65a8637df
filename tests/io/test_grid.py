"""Grids of volumes: possible ones, and how two differ."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fednnunet.errors import DataError
from fednnunet.io.grid import check_grid, grid_difference, orthonormal
from fednnunet.volume import Geometry, Volume
from tests.io.volumes import TURN, a_volume

PLAIN = Geometry(spacing_mm=(2.5, 0.75, 0.5), origin_mm=(1.0, 2.0, 3.0))
SHEARED = (1.0, 0.2, 0.0, 0.0, 0.98, 0.0, 0.0, 0.0, 1.0)
FLAT = (1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)


def test_axes_at_right_angles_are_told_from_sheared_ones():
    assert orthonormal(PLAIN.direction) and orthonormal(TURN)
    assert not orthonormal(SHEARED)


@pytest.mark.parametrize("direction", [TURN, SHEARED])
def test_a_possible_grid_is_given_back(direction):
    geometry = replace(PLAIN, direction=direction)
    assert check_grid(geometry, Path("a.nii")) is geometry


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spacing_mm": (0.0, 1.0, 1.0)}, r"spacing \[0\.0, 1\.0, 1\.0\] mm"),
        ({"spacing_mm": (1.0, 1e6, 1.0)}, "spacing"),
        ({"spacing_mm": (math.nan, 1.0, 1.0)}, "spacing"),
        ({"origin_mm": (1e9, 0.0, 0.0)}, "origin"),
        ({"direction": (math.inf, *TURN[1:])}, "direction"),
        ({"direction": (2.0, *TURN[1:])}, "direction"),
        ({"direction": FLAT}, "axes that lie in one plane"),
    ],
)
def test_a_grid_that_no_volume_has_is_refused_with_its_file(change, words):
    with pytest.raises(DataError, match=rf"a\.nii cannot be read: .*{words}"):
        check_grid(replace(PLAIN, **change), Path("a.nii"))


def test_what_differs_is_told_in_words(rng):
    volume = a_volume(rng)
    assert grid_difference(volume, volume) == ""
    larger = Volume(array=np.zeros((1, 4, 5, 7), np.float32), geometry=volume.geometry)
    assert grid_difference(volume, larger) == "shape [4, 5, 7] (other: [4, 5, 6])"
    moved = replace(volume.geometry, origin_mm=(-10.0, 20.5, 4.0), spacing_mm=(2.5, 0.75, 0.6))
    told = grid_difference(volume, Volume(array=volume.array, geometry=moved))
    assert "spacing [2.5, 0.75, 0.6] (other: [2.5, 0.75, 0.5])" in told
    assert "origin [-10.0, 20.5, 4.0]" in told and "direction" not in told
