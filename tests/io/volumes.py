"""Small volumes on a turned grid."""

from __future__ import annotations

import numpy as np

from fednnunet.volume import Geometry, Volume

TURN = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def a_volume(rng, shape=(4, 5, 6), direction=TURN, dtype=np.float32) -> Volume:
    """One channel of whole numbers below 200, of `shape` (z, y, x)."""
    geometry = Geometry(
        spacing_mm=(2.5, 0.75, 0.5), origin_mm=(-10.0, 20.5, 3.0), direction=direction
    )
    return Volume(array=rng.integers(0, 200, (1, *shape)).astype(dtype), geometry=geometry)
