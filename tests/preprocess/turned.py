"""The same volume, stored in another orientation."""

from __future__ import annotations

import numpy as np

from fednnunet.preprocess.orient import Turn, orientation_code
from fednnunet.volume import Geometry, Volume


def stored_as(volume: Volume, code: str) -> Volume:
    """A volume whose voxels lie at the same places in the patient, along the axes of `code`."""
    turn = Turn.between(orientation_code(volume.geometry), code)
    old = np.reshape(volume.geometry.direction, (3, 3))
    origin, columns = np.array(volume.geometry.origin_mm, float), []
    for new, axis in enumerate(turn.axes):
        step, sign = old[:, 2 - axis], -1.0 if new in turn.flips else 1.0
        columns.append(sign * step)
        if sign < 0:
            origin += step * volume.spacing_mm[axis] * (volume.shape_vox[axis] - 1)
    direction = np.stack(columns[::-1], axis=1)
    return Volume(
        array=np.ascontiguousarray(turn.apply(volume.array)),
        geometry=Geometry(
            spacing_mm=turn.order(volume.spacing_mm),
            origin_mm=tuple(origin.tolist()),
            direction=tuple(direction.ravel().tolist()),
        ),
    )
