"""What a person may want beside each mask: probabilities, uncertainty, the mask at low resolution.

Each lies in a folder of its own below that of the masks, under the name of the case.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fednnunet import io
from fednnunet.dataset import Case
from fednnunet.errors import InputError
from fednnunet.files import storing
from fednnunet.inference.export import Predicted, Wanted
from fednnunet.preprocess.pipeline import Placement
from fednnunet.volume import Geometry, Volume

PROBABILITIES, UNCERTAINTY, SPREAD, LOW = "probabilities", "uncertainty", "spread", "lowres"

ProbabilityFormat = Literal["none", "nifti", "npz"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraFiles:
    """The files beside the masks in `folder`.

    `spread` says how far networks and flips are from agreement, and needs several. `lowres` is the
    mask on the grid of the plan's spacing.
    """

    folder: Path
    probabilities: ProbabilityFormat = "none"
    uncertainty: bool = False
    spread: bool = False
    lowres: bool = False

    def __post_init__(self) -> None:
        if self.probabilities not in ("none", "nifti", "npz"):
            raise InputError(
                f"there is no format {self.probabilities!r} for probabilities",
                mend="choose one of: none, nifti, npz",
            )

    def there(self, case: Case) -> bool:
        """Whether all of them are there."""
        return all(path.is_file() for path in self._paths(case).values())

    @property
    def wanted(self) -> Wanted:
        """What they are made of."""
        kept = self.folder / PROBABILITIES if self.probabilities != "none" else None
        return Wanted(
            entropy=self.uncertainty,
            spread=self.spread,
            probabilities=kept,
            prepared=self.lowres,
        )

    def clear(self, case: Case) -> None:
        """Remove all of a case, in any format, also those that are not asked for now."""
        for folder in (PROBABILITIES, UNCERTAINTY, SPREAD, LOW):
            for ending in ("nii.gz", "npz"):
                path = self.folder / folder / f"{case.name}.{ending}"
                with storing(path):
                    path.unlink(missing_ok=True)

    def write(self, case: Case, predicted: Predicted) -> None:
        """Write them all."""
        paths, geometry = self._paths(case), predicted.placement.geometry
        if predicted.probabilities is not None:
            path = paths[PROBABILITIES]
            if self.probabilities == "npz":
                io.write_probabilities_npz(predicted.probabilities, path)
            else:
                io.write_probabilities_nifti(predicted.probabilities, geometry, path)
        for name, array in ((UNCERTAINTY, predicted.entropy), (SPREAD, predicted.spread)):
            if array is not None:
                io.write_volume(Volume(array=array[None], geometry=geometry), paths[name])
        if predicted.prepared is not None:
            mask, grid = as_stored(predicted.prepared, predicted.placement)
            io.write_mask(mask, grid, paths[LOW])

    def _paths(self, case: Case) -> dict[str, Path]:
        asked = {
            UNCERTAINTY: self.uncertainty,
            SPREAD: self.spread,
            LOW: self.lowres,
        }
        paths = {
            name: self.folder / name / f"{case.name}.nii.gz"
            for name, wanted in asked.items()
            if wanted
        }
        if self.probabilities != "none":
            ending = "npz" if self.probabilities == "npz" else "nii.gz"
            paths[PROBABILITIES] = self.folder / PROBABILITIES / f"{case.name}.{ending}"
        return paths


def as_stored(prepared: np.ndarray, placement: Placement) -> tuple[np.ndarray, Geometry]:
    """A map (z, y, x) on the prepared grid with its axes as the image stores them, and its grid.

    Its voxels lie where they were resampled from: the first and last ones begin and end with the
    crop of the image.
    """
    back = np.argsort(placement.transpose)
    array = placement.turn.undo(prepared.transpose(back))
    starts = np.array([placement.box[axis][0] for axis in back], float)
    stops = np.array([placement.box[axis][1] for axis in back], float)
    for axis in placement.turn.flips:  # count from the other end
        size = placement.native_shape[axis]
        starts[axis], stops[axis] = size - stops[axis], size - starts[axis]
    order = np.argsort(placement.turn.axes)
    starts, stops = starts[order], stops[order]
    steps = (stops - starts) / np.array(array.shape)  # in voxels of the image, (z, y, x)
    first = starts + steps / 2 - 0.5  # the centre of the first voxel, in voxels of the image
    geometry = placement.geometry
    spacing = np.array(geometry.spacing_mm)
    direction = np.reshape(geometry.direction, (3, 3))
    origin = np.array(geometry.origin_mm) + direction @ (first * spacing)[::-1]
    z, y, x = (steps * spacing).tolist()
    i, j, k = origin.tolist()
    grid = Geometry(spacing_mm=(z, y, x), origin_mm=(i, j, k), direction=geometry.direction)
    return np.ascontiguousarray(array), grid
