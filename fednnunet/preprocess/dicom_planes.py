"""The planes of a DICOM series: the volume to predict on, and the way back onto the planes.

A CT gantry may be tilted: each slice is then shifted within its plane against the one below. For
prediction such slices are moved, by linear interpolation, onto one upright grid that holds all of
them; a mask is brought back onto every plane by its nearest voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from fednnunet import io
from fednnunet.errors import DataError
from fednnunet.preprocess.dicom import read_series
from fednnunet.preprocess.dicom_scan import TILT, Series, in_order, reading
from fednnunet.volume import Geometry, Volume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planes:
    """A series as a volume on an upright grid, and its own planes, in the same order along z."""

    series: Series
    volume: Volume
    """What is predicted on: float32 (1, z, y, x)."""
    files: tuple[Path, ...]
    """A file for each plane, or one multi-frame file."""
    origins_mm: np.ndarray
    """The centre of the first voxel of each plane (z, 3) in the patient (x, y, z)."""
    shape_vox: tuple[int, int]
    """Rows and columns of a plane."""
    offsets_vox: np.ndarray | None = None
    """Where each plane begins on the upright grid (z, 2; y, x); None if it is the planes' own."""

    @property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The steps in mm (x, y, z) from one column to the next, and from one row to the next."""
        matrix = np.reshape(self.volume.geometry.direction, (3, 3))
        _, y, x = self.volume.spacing_mm
        return matrix[:, 0] * x, matrix[:, 1] * y

    def on_planes(self, mask: np.ndarray) -> np.ndarray:
        """A mask (z, y, x) of the volume as the series' own planes have it (z, row, column)."""
        if self.offsets_vox is None:
            return mask
        rows, columns = (np.arange(side) for side in self.shape_vox)
        planes = np.empty((len(mask), *self.shape_vox), mask.dtype)
        for plane, layer, (y, x) in zip(planes, mask, self.offsets_vox, strict=True):
            down, across = _nearest(rows + y, len(layer)), _nearest(columns + x, layer.shape[1])
            plane[:] = layer[np.ix_(down, across)]
        return planes


def read_planes(series: Series) -> Planes:
    """Read an image series, upright or tilted, from single slices or one multi-frame file.

    Raises DataError for a series that is not one whole volume.
    """
    if len(series.slices) == 1:
        volume = read_series(series)
        matrix = np.reshape(volume.geometry.direction, (3, 3))
        step = matrix[:, 2] * volume.spacing_mm[0]
        numbers = np.arange(volume.shape_vox[0])
        origins = np.array(volume.geometry.origin_mm) + np.outer(numbers, step)
        shape = volume.shape_vox[1:]
        return Planes(
            series=series,
            volume=volume,
            files=(series.slices[0].path,),
            origins_mm=origins,
            shape_vox=shape,
        )
    files = tuple(in_order(series, tilted=True))
    places = {one.path: one.position_mm for one in series.slices}
    origins = np.array([places[path] for path in files], dtype=np.float64)
    voxels = sum(one.pixels * one.frames for one in series.slices)
    io.check_promise(files[0], voxels=voxels, itemsize=4)
    if any(one.frames > 1 for one in series.slices):
        raise DataError(
            f"a {series.modality} series is spread over several multi-frame files",
            where=series.where,
            mend="split the series into one series per volume",
        )
    with reading(f"a {series.modality} series", series.where):
        stored = io.read_dicom_slices(files)
    return _upright(series, stored, files, origins)


def _upright(
    series: Series, stored: Volume, files: tuple[Path, ...], origins: np.ndarray
) -> Planes:
    """The stack as it is, or with its slices moved onto an upright grid."""
    matrix = np.reshape(stored.geometry.direction, (3, 3))
    row, column = matrix[:, 0], matrix[:, 1]
    normal = np.cross(row, column)
    step = (origins[-1] - origins[0]) / (len(origins) - 1)
    height, spacing = float(step @ normal), stored.spacing_mm
    beside_mm = np.array([step @ column, step @ row])
    shape = stored.shape_vox[1:]
    if np.linalg.norm(beside_mm) <= TILT * height:
        return Planes(
            series=series, volume=stored, files=files, origins_mm=origins, shape_vox=shape
        )
    shift = np.arange(len(origins))[:, None] * (beside_mm / spacing[1:])  # (z, 2; y, x) in voxels
    low = np.floor(shift.min(axis=0))
    offsets = shift - low
    sides = [int(np.ceil(offsets[:, axis].max())) + shape[axis] for axis in range(2)]
    planes = stored.array[0]
    io.check_promise(files[0], voxels=len(planes) * sides[0] * sides[1], itemsize=4)
    moved = np.empty((len(planes), *sides), np.float32)
    for layer, plane, offset in zip(moved, planes, offsets, strict=True):
        ndimage.affine_transform(
            plane, np.ones(2), -offset, output_shape=tuple(sides), output=layer, order=1,
            cval=float(planes.min()),
        )  # fmt: skip
    origin = origins[0] + low[0] * spacing[1] * column + low[1] * spacing[2] * row
    geometry = Geometry(
        spacing_mm=(height, spacing[1], spacing[2]),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(v) for v in np.stack([row, column, normal], axis=1).ravel()),
    )
    volume = Volume(array=moved[None], geometry=io.check_grid(geometry, files[0]))
    return Planes(
        series=series,
        volume=volume,
        files=files,
        origins_mm=origins,
        shape_vox=shape,
        offsets_vox=offsets,
    )


def _nearest(places: np.ndarray, length: int) -> np.ndarray:
    return np.clip(np.rint(places).astype(int), 0, length - 1)
