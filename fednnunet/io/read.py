"""Volumes from disk, each file checked before a library acts on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fednnunet.errors import DataError, FedNNUNetError, raise_all
from fednnunet.io import nifti
from fednnunet.io.formats import check_file, is_nifti, name_fault, not_3d, unreadable
from fednnunet.io.grid import check_grid, grid_difference
from fednnunet.io.text_header import check_text_header
from fednnunet.volume import Geometry, Volume

if TYPE_CHECKING:
    import SimpleITK


def read_volume(paths: Sequence[Path]) -> Volume:
    """Read one case: one 3D file per channel, all on one grid, as float32 (c, z, y, x).

    Raises DataError (or ManyFaults) for a file that is missing, truncated, not 3D, or on another
    grid than the first channel.
    """
    volumes: list[Volume] = []
    faults: list[FedNNUNetError] = []
    for path in paths:
        try:
            volumes.append(_read(path, np.float32))
        except FedNNUNetError as fault:
            faults.append(fault)
    if not faults:
        faults += [
            DataError(
                f"{path.name} is not on the grid of {paths[0].name}: {difference}",
                where=str(path),
                mend="resample the channels of a case onto one grid",
            )
            for path, volume in zip(paths[1:], volumes[1:], strict=True)
            if (difference := grid_difference(volumes[0], volume))
        ]
    raise_all(f"{paths[0].name if paths else 'a case'} cannot be read", faults)
    if len(volumes) == 1:
        return volumes[0]
    return Volume(array=np.concatenate([v.array for v in volumes]), geometry=volumes[0].geometry)


def read_raw(path: Path) -> Volume:
    """Read one 3D file as (1, z, y, x) in the dtype that it is stored in."""
    return _read(path, None)


def read_4d(path: Path) -> tuple[Volume, ...]:
    """The 3D volumes (1, z, y, x; float32) of a 4D file, in their order."""
    import SimpleITK

    check_file(path)
    if is_nifti(path):
        nifti.load(path)  # ITK reads a truncated file without a word
    else:
        check_text_header(path)
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise unreadable(path, str(error)) from None
    if image.GetDimension() != 4:
        return (_from_itk(image, path, np.float32),)
    count = image.GetSize()[3]
    return tuple(_from_itk(image[:, :, :, t], path, np.float32) for t in range(count))


def read_dicom_slices(paths: Sequence[Path]) -> Volume:
    """Read DICOM slices, in the order given, as float32 (1, z, y, x), rescale slopes applied."""
    import SimpleITK

    raise_all("the slices cannot be read", [f for path in paths if (f := name_fault(path))])
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    try:
        return _from_itk(reader.Execute(), paths[0], np.float32)
    except RuntimeError as error:
        raise unreadable(paths[0], str(error)) from None


def read_label(path: Path) -> Volume:
    """Read a label map as int16 (1, z, y, x). Raises DataError for values that are not integers."""
    volume = _read(path, None)
    array = volume.array
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError(
                f"{path.name} has NaN or infinite values",
                where=str(path),
                mend="write the label map with whole numbers",
            )
        odd = int((array != np.rint(array)).sum())
        if odd:
            raise DataError(
                f"{path.name} has {odd} label values that are not whole numbers",
                where=str(path),
                mend="label maps must not be interpolated: use nearest neighbour",
            )
    if array.size and (array.min() < -(2**15) or array.max() >= 2**15):
        raise DataError(
            f"{path.name} has label values up to {array.max()}",
            where=str(path),
            mend="use small whole numbers from 0 on",
        )
    return Volume(array=array.astype(np.int16, copy=False), geometry=volume.geometry)


def read_header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and spacing in mm of a file in array order (z, y, x), without reading its voxels."""
    import SimpleITK

    check_file(path)
    if is_nifti(path):
        nifti.check_nifti(path)
    else:
        check_text_header(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        volume = _read(path, None)  # raises the fault, or it is a NIfTI file with shear
        return volume.shape_vox, volume.spacing_mm
    return tuple(reader.GetSize()[::-1]), tuple(reader.GetSpacing()[::-1])


def _read(path: Path, dtype: type[np.floating] | None) -> Volume:
    """One 3D file as (1, z, y, x), in `dtype` or as stored."""
    check_file(path)
    if is_nifti(path):
        return nifti.read(path, dtype)
    check_text_header(path)
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(path, str(error)) from None
    return _from_itk(image, path, dtype)


def _from_itk(image: SimpleITK.Image, path: Path, dtype: type[np.floating] | None) -> Volume:
    import SimpleITK

    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise not_3d(path, (*image.GetSize(), image.GetNumberOfComponentsPerPixel()))
    array = SimpleITK.GetArrayViewFromImage(image)
    array = array.astype(dtype) if dtype is not None else array.copy()
    spacing = tuple(abs(float(v)) for v in image.GetSpacing()[::-1])
    geometry = Geometry(
        spacing_mm=spacing,  # type: ignore[arg-type]
        origin_mm=tuple(float(v) for v in image.GetOrigin()),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in image.GetDirection()),
    )
    return Volume(array=array[None], geometry=check_grid(geometry, path))
