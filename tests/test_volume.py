"""Volumes and when two grids agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fednnunet.volume import Geometry, Volume

PLAIN = Geometry(spacing_mm=(2.0, 1.0, 1.0))


def test_shape_and_spacing_are_in_array_order():
    volume = Volume(array=np.zeros((2, 3, 4, 5)), geometry=PLAIN)
    assert volume.shape_vox == (3, 4, 5) and volume.spacing_mm == (2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        ({"spacing_mm": (2.001, 1.0, 1.0)}, True),
        ({"spacing_mm": (2.01, 1.0, 1.0)}, False),
        ({"origin_mm": (0.009, 0.0, 0.0)}, True),
        ({"origin_mm": (0.02, 0.0, 0.0)}, False),
        ({"direction": (1.0, 0.0005, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, True),
        ({"direction": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)}, False),
    ],
)
def test_grids_agree_up_to_what_formats_round(change, agrees):
    assert PLAIN.agrees_with(replace(PLAIN, **change)) is agrees


def test_the_tolerance_of_the_origin_may_be_larger():
    moved = replace(PLAIN, origin_mm=(0.5, 0.0, 0.0))
    assert not PLAIN.agrees_with(moved) and PLAIN.agrees_with(moved, tolerance_mm=1.0)
