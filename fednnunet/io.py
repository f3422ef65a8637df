"""Volumes on disk: the only module that uses SimpleITK and nibabel.

Arrays keep their stored order (z, y, x as in ITK) and are not reoriented, so that masks are written
on the grid of the input, whatever its orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fednnunet.errors import DataError, FedNNUNetError, raise_all
from fednnunet.files import replacing
from fednnunet.volume import Geometry, Volume

if TYPE_CHECKING:
    import SimpleITK

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def ending(path: Path) -> str | None:
    """The ending of a file name if it is a supported image format, else `None`."""
    name = path.name.lower()
    return next((e for e in ENDINGS if name.endswith(e)), None)


def read_volume(paths: Sequence[Path]) -> Volume:
    """Read one case: one 3D file per channel, all on one grid, as float32 (c, z, y, x).

    Raises DataError (or ManyFaults) if a file is missing, truncated, not 3D, or not on the grid of
    the first channel.
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
    """Read one 3D file as (1, z, y, x) in its stored dtype."""
    return _read(path, None)


def read_4d(path: Path) -> tuple[Volume, ...]:
    """The 3D volumes (1, z, y, x; float32) of a 4D file, in their order."""
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, str(error)) from None
    if image.GetDimension() != 4:
        return (_from_itk(image, path, np.float32),)
    count = image.GetSize()[3]
    return tuple(_from_itk(image[:, :, :, t], path, np.float32) for t in range(count))


def read_dicom_slices(paths: Sequence[Path]) -> Volume:
    """Read DICOM slices, in the order given, as float32 (1, z, y, x), rescale slopes applied."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    try:
        return _from_itk(reader.Execute(), paths[0], np.float32)
    except RuntimeError as error:
        raise _unreadable(paths[0], str(error)) from None


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
        fractions = int((array != np.rint(array)).sum())
        if fractions:
            raise DataError(
                f"{path.name} has {fractions} label values that are not whole numbers",
                where=str(path),
                mend="export the label map without interpolation, or with nearest neighbour",
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

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        volume = _read(path, None)  # raises the fault, or it is a NIfTI file with shear
        return volume.shape_vox, volume.spacing_mm
    return tuple(reader.GetSize()[::-1]), tuple(reader.GetSpacing()[::-1])


def grid_difference(first: Volume, second: Volume) -> str:
    """A description of the difference between two grids; empty if they agree."""
    if first.shape_vox != second.shape_vox:
        return f"shape {list(second.shape_vox)} (other: {list(first.shape_vox)})"
    a, b = first.geometry, second.geometry
    if a.agrees_with(b):
        return ""
    names = ("spacing_mm", "origin_mm", "direction")
    differences = []
    for name, tolerance in zip(names, (1e-3, 1e-2, 1e-3), strict=True):
        if not np.allclose(getattr(a, name), getattr(b, name), rtol=1e-3, atol=tolerance):
            shown = [round(float(v), 4) for v in getattr(b, name)]
            other = [round(float(v), 4) for v in getattr(a, name)]
            differences.append(f"{name.removesuffix('_mm')} {shown} (other: {other})")
    return ", ".join(differences) or "geometry"


def write_mask(
    mask: np.ndarray, geometry: Geometry, path: Path, *, like: Path | None = None
) -> None:
    """Write a mask (z, y, x) of whole numbers on the grid of its input image, atomically.

    `like` is the path of the input; its affine is used for NIfTI files with shear, which ITK cannot
    represent. Stored as uint8, or as uint16 if values exceed 255.
    """
    highest = int(mask.max(initial=0))
    array = mask.astype(np.uint8 if highest <= 255 else np.uint16, copy=False)
    sheared = _is_nifti(path) and not _orthonormal(geometry.direction)
    if sheared and like is not None and _is_nifti(like):
        with replacing(path) as temporary:
            _write_nibabel(array, like, temporary)
        return
    write_volume(Volume(array=array[None], geometry=geometry), path)


def write_volume(volume: Volume, path: Path) -> None:
    """Write the first channel of a volume, in the format of the file name's ending."""
    import SimpleITK

    if ending(path) is None:
        raise DataError(
            f"{path.name} has no known image ending", mend=f"use one of {', '.join(ENDINGS)}"
        )
    geometry = volume.geometry
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.array[0]))
    image.SetSpacing([float(v) for v in geometry.spacing_mm[::-1]])
    image.SetOrigin([float(v) for v in geometry.origin_mm])
    if not _orthonormal(geometry.direction) and _is_nifti(path):
        with replacing(path) as temporary:
            _write_sheared(volume, temporary)
        return
    image.SetDirection([float(v) for v in geometry.direction])
    if ending(path) == ".mhd":  # two files, and the header contains the name of the other
        path.parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(path), True)
        return
    with replacing(path) as temporary:
        SimpleITK.WriteImage(image, str(temporary), True)


def _read(path: Path, dtype: type[np.floating] | None) -> Volume:
    """One 3D file as (1, z, y, x), in `dtype` or as stored."""
    if not path.is_file():
        raise DataError(f"{path.name} is missing", where=str(path), mend="restore the missing file")
    if ending(path) is None:
        raise DataError(
            f"{path.name} is no image format that can be read",
            where=str(path),
            mend=f"convert it to one of {', '.join(ENDINGS)}",
        )
    if _is_nifti(path):
        return _read_nifti(path, dtype)
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, str(error)) from None
    return _from_itk(image, path, dtype)


def _from_itk(image: SimpleITK.Image, path: Path, dtype: type[np.floating] | None) -> Volume:
    import SimpleITK

    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise _not_3d(path, (*image.GetSize(), image.GetNumberOfComponentsPerPixel()))
    array = SimpleITK.GetArrayViewFromImage(image)
    array = array.astype(dtype) if dtype is not None else array.copy()
    spacing = tuple(abs(float(v)) for v in image.GetSpacing()[::-1])
    geometry = Geometry(
        spacing_mm=spacing,  # type: ignore[arg-type]
        origin_mm=tuple(float(v) for v in image.GetOrigin()),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in image.GetDirection()),
    )
    return Volume(array=array[None], geometry=geometry)


def _read_nifti(path: Path, dtype: type[np.floating] | None) -> Volume:
    """Voxels from nibabel; the grid from ITK, or from nibabel if ITK refuses it (shear).

    ITK reads truncated NIfTI files and turns NaN into 0, both without an error.
    """
    image = _load_nifti(path)
    shape = image.shape[:3] if image.shape[3:] == (1,) else image.shape
    if len(shape) != 3 or image.get_data_dtype().fields:
        raise _not_3d(path, image.shape)
    voxels = np.asanyarray(image.dataobj).reshape(shape, order="F").transpose(2, 1, 0)
    array = np.ascontiguousarray(voxels if dtype is None else voxels.astype(dtype, copy=False))
    return Volume(array=array[None], geometry=_itk_grid(path) or _affine_grid(image.affine))


def _load_nifti(path: Path) -> Any:
    """The image in memory, after a check of its length and, if compressed, its checksum."""
    import gzip
    import zlib

    import nibabel

    try:
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)
        kind: Any = type(nibabel.load(path))
        image = kind.from_bytes(content)
        np.asanyarray(image.dataobj.get_unscaled())
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
    ) as error:
        raise _unreadable(path, str(error)) from None
    return image


def _itk_grid(path: Path) -> Geometry | None:
    """The grid of a 3D NIfTI file from ITK; `None` if ITK refuses it."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            return None
        raise _unreadable(path, str(error)) from None
    if reader.GetDimension() != 3:
        return None
    return Geometry(
        spacing_mm=tuple(abs(float(v)) for v in reader.GetSpacing()[::-1]),  # type: ignore[arg-type]
        origin_mm=tuple(float(v) for v in reader.GetOrigin()),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in reader.GetDirection()),
    )


def _affine_grid(ras: np.ndarray) -> Geometry:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras  # RAS to LPS
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return Geometry(
        spacing_mm=tuple(float(v) for v in spacing[::-1]),  # type: ignore[arg-type]
        origin_mm=tuple(float(v) for v in affine[:3, 3]),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in (affine[:3, :3] / spacing).ravel()),
    )


def _write_nibabel(mask: np.ndarray, like: Path, path: Path) -> None:
    import nibabel

    source: Any = nibabel.load(like)
    image = nibabel.Nifti1Image(mask.transpose(2, 1, 0), source.affine)
    image.set_sform(source.affine, int(source.header["sform_code"]) or 1)
    nibabel.save(image, path)


def _write_sheared(volume: Volume, path: Path) -> None:
    import nibabel

    geometry = volume.geometry
    affine = np.eye(4)
    direction = np.reshape(geometry.direction, (3, 3))
    affine[:3, :3] = direction * np.asarray(geometry.spacing_mm[::-1])
    affine[:3, 3] = geometry.origin_mm
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    nibabel.save(nibabel.Nifti1Image(volume.array[0].transpose(2, 1, 0), affine), path)


def _orthonormal(direction: Sequence[float]) -> bool:
    matrix = np.reshape(direction, (3, 3))
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3))


def _is_nifti(path: Path) -> bool:
    return ending(path) in (".nii", ".nii.gz")


def _not_3d(path: Path, shape: Sequence[int]) -> DataError:
    return DataError(
        f"{path.name} is not one 3D image: its size is {list(shape)}",
        where=str(path),
        mend="write every channel and time point into a separate 3D file",
    )


def _unreadable(path: Path, reason: str) -> DataError:
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    shown = lines[-1].rsplit(": ", 1)[-1][:160] if lines else "unknown reason"
    return DataError(
        f"{path.name} cannot be read: {shown}",
        where=f"{path}, {path.stat().st_size} bytes",
        mend="copy the file again from its source; it may be truncated",
    )
