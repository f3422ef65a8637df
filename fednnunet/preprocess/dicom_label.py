"""Masks from DICOM segmentations: DICOM-SEG through highdicom, and contours of an RTSTRUCT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fednnunet.errors import DataError
from fednnunet.preprocess.dicom_scan import Series
from fednnunet.volume import Volume

_OFF_SLICE = 0.5  # of the distance between slices
_GRID_MM = 1e-2
_DECIMALS = 3  # of a voxel; contours are stored as text, and rounding keeps edges on voxel centres


def masks_of(reference: Series, image: Volume) -> dict[str, np.ndarray]:
    """The structures of a reference by name, as bool masks (z, y, x) on the image's grid.

    Raises DataError for a segmentation on another grid, or contours between the slices.
    """
    path = reference.slices[0].path
    return _of_seg(path, image) if reference.modality == "SEG" else _of_contours(path, image)


def names_in(reference: Series) -> tuple[str, ...]:
    """Names of the structures of a reference, without reading a mask."""
    import pydicom

    header = pydicom.dcmread(reference.slices[0].path, stop_before_pixels=True)
    if reference.modality == "SEG":
        return tuple(str(segment.SegmentLabel) for segment in header.SegmentSequence)
    return tuple(str(roi.ROIName) for roi in header.StructureSetROISequence)


def affine(image: Volume) -> np.ndarray:
    """From voxel indices (z, y, x, 1) to mm (x, y, z, 1) in the patient, 4x4."""
    geometry = image.geometry
    axes = np.reshape(geometry.direction, (3, 3)) * np.array(geometry.spacing_mm[::-1])
    matrix = np.eye(4)
    matrix[:3, :3] = axes[:, ::-1]
    matrix[:3, 3] = geometry.origin_mm
    return matrix


def _of_seg(path: Path, image: Volume) -> dict[str, np.ndarray]:
    import highdicom

    seg = highdicom.seg.segread(path)
    grid = highdicom.VolumeGeometry(
        affine(image), spatial_shape=image.shape_vox, coordinate_system="PATIENT"
    )
    masks: dict[str, np.ndarray] = {}
    for number in seg.segment_numbers:
        name = str(seg.get_segment_description(number).SegmentLabel)
        try:
            volume = seg.get_volume(segment_numbers=[number]).squeeze_channel()
            mask = volume.match_geometry(grid, tol=_GRID_MM).array >= 0.5
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"segment {name!r} does not lie on its image's grid: {error}",
                where=str(path),
                mend="export the segmentation on the slices of its image",
            ) from None
        masks[name] = masks[name] | mask if name in masks else mask
    return masks


def _of_contours(path: Path, image: Volume) -> dict[str, np.ndarray]:
    import pydicom

    header = pydicom.dcmread(path)
    names = {int(roi.ROINumber): str(roi.ROIName) for roi in header.StructureSetROISequence}
    masks: dict[str, np.ndarray] = {}
    for roi in header.get("ROIContourSequence", ()):
        name = names.get(int(roi.ReferencedROINumber), f"ROI {roi.ReferencedROINumber}")
        contours = [c for c in roi.get("ContourSequence", ()) if _is_area(c)]
        if contours:
            masks[name] = _filled([_points(c) for c in contours], image, name, path)
    return masks


def _is_area(contour: Any) -> bool:
    return str(contour.get("ContourGeometricType", "")).startswith("CLOSED_PLANAR")


def _points(contour: Any) -> np.ndarray:
    return np.array(contour.ContourData, float).reshape(-1, 3)


def _filled(contours: list[np.ndarray], image: Volume, name: str, path: Path) -> np.ndarray:
    """Voxels whose centre lies in an odd number of contours (n, 3; mm), or on one.

    A contour inside another one is therefore a hole.
    """
    inside = np.zeros(image.shape_vox, bool)
    edge = np.zeros(image.shape_vox, bool)
    to_index = np.linalg.inv(affine(image))
    off = 0
    for points in contours:
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        z = round(float(index[:, 0].mean()))
        if np.abs(index[:, 0] - z).max() > _OFF_SLICE or not 0 <= z < len(inside):
            off += 1
            continue
        _fill(np.round(index[:, 1:], _DECIMALS), inside[z], edge[z])
    if off:
        raise DataError(
            f"{off} of {len(contours)} contours of {name!r} do not lie on the image's slices",
            where=str(path),
            mend="contour on the axial slices of this series, or export a DICOM-SEG",
        )
    return inside | edge


def _fill(polygon: np.ndarray, inside: np.ndarray, edge: np.ndarray) -> None:
    """Toggle the voxels inside `polygon` (n, 2; y, x) in one slice, and mark those on its edge."""
    from skimage.measure import grid_points_in_poly

    low = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 1, inside.shape)
    if (high <= low).any():
        return
    found = grid_points_in_poly(tuple(high - low), polygon - low, binarize=False)
    box = slice(low[0], high[0]), slice(low[1], high[1])
    inside[box] ^= found == 1
    edge[box] |= found >= 2
