"""NIfTI files: headers checked first, voxels whole by nibabel, the grid as ITK understands it.

ITK would read a truncated NIfTI file, and turn NaN into 0, without a word. Decompression stops
where the header's promise is kept: a small file cannot fill the memory.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fednnunet.errors import DataError
from fednnunet.io.formats import check_promise, not_3d, unreadable
from fednnunet.io.grid import check_grid
from fednnunet.volume import Geometry, Volume

_SLACK = 1 << 20  # bytes that may follow the voxels
_GZIP = 16 + zlib.MAX_WBITS
_MAX_GZIP = 1100  # times that gzip can shrink
_HEADER = 544  # bytes, those of version 2 with the first extension's flag
_EXTENSIONS = 1 << 26  # bytes that may lie between the header and the voxels


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiHeader:
    """What reading needs of a header: the image's class in nibabel, and the bytes of the file."""

    kind: Any
    shape: tuple[int, ...]
    length: int


def check_nifti(path: Path) -> NiftiHeader:
    """Read a file's header alone; raises DataError for what no image can have, or not fit here."""
    size = path.stat().st_size
    compressed = path.name.lower().endswith(".gz")
    try:
        with path.open("rb") as stream:
            start = stream.read(4 * _HEADER if compressed else _HEADER)
        if compressed:
            start = zlib.decompressobj(_GZIP).decompress(start, _HEADER)
    except (OSError, zlib.error) as error:
        raise unreadable(path, str(error)) from None
    kind, header = _parse(path, start)
    shape, itemsize = _shape(path, header)
    promised = check_promise(path, voxels=math.prod(shape), itemsize=itemsize)
    length = int(header["vox_offset"]) + promised
    if length > (size * _MAX_GZIP + _HEADER if compressed else size):
        raise unreadable(path, f"it is shorter than the {length:,} bytes that its header promises")
    return NiftiHeader(kind=kind, shape=shape, length=length)


def load(path: Path) -> Any:
    """The image whole in memory: its length, and its checksum if compressed, are right."""
    import nibabel

    header = check_nifti(path)
    try:
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = _gunzip(path, content, header.length)
        image = header.kind.from_bytes(content)
        np.asanyarray(image.dataobj.get_unscaled())
    except (
        OSError,
        EOFError,
        ValueError,
        OverflowError,
        zlib.error,
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
    ) as error:
        raise unreadable(path, str(error)) from None
    return image


def read(path: Path, dtype: type[np.floating] | None) -> Volume:
    """One 3D NIfTI file as (1, z, y, x), in `dtype` or as stored."""
    image = load(path)
    shape = image.shape[:3] if image.shape[3:] == (1,) else image.shape
    if len(shape) != 3 or image.get_data_dtype().fields:
        raise not_3d(path, image.shape)
    geometry = itk_grid(path) or check_grid(_affine_grid(image.affine), path)
    with np.errstate(all="ignore"):  # what a broken slope gives is found as infinite
        voxels = np.asanyarray(image.dataobj).reshape(shape, order="F").transpose(2, 1, 0)
        array = np.ascontiguousarray(voxels if dtype is None else voxels.astype(dtype, copy=False))
    return Volume(array=array[None], geometry=geometry)


def itk_grid(path: Path) -> Geometry | None:
    """The grid of a 3D NIfTI file as ITK understands it; None where it refuses to."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            return None
        raise unreadable(path, str(error)) from None
    if reader.GetDimension() != 3:
        return None
    geometry = Geometry(
        spacing_mm=tuple(abs(float(v)) for v in reader.GetSpacing()[::-1]),  # type: ignore[arg-type]
        origin_mm=tuple(float(v) for v in reader.GetOrigin()),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in reader.GetDirection()),
    )
    return check_grid(geometry, path)


def write_like(mask: np.ndarray, like: Path, path: Path) -> None:
    """Write a mask (z, y, x) with the very affine of another NIfTI file."""
    import nibabel

    source: Any = nibabel.load(like)
    image = nibabel.Nifti1Image(mask.transpose(2, 1, 0), source.affine)
    image.set_sform(source.affine, int(source.header["sform_code"]) or 1)
    nibabel.save(image, path)


def write_sheared(volume: Volume, path: Path) -> None:
    """Write a volume on a grid without right angles, which ITK cannot hold."""
    import nibabel

    image = nibabel.Nifti1Image(volume.array[0].transpose(2, 1, 0), affine_of(volume.geometry))
    nibabel.save(image, path)


def affine_of(geometry: Geometry) -> np.ndarray:
    """NIfTI's affine (4, 4) from voxel indices (x, y, z) to mm right, anterior, superior."""
    affine = np.eye(4)
    direction = np.reshape(geometry.direction, (3, 3))
    affine[:3, :3] = direction * np.asarray(geometry.spacing_mm[::-1])
    affine[:3, 3] = geometry.origin_mm
    flipped: np.ndarray = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return flipped


def _parse(path: Path, start: bytes) -> tuple[Any, Any]:
    """The image's class and its header's fields, from the first bytes of a file."""
    import nibabel

    for kind, magic in ((nibabel.Nifti1Image, b"n+1"), (nibabel.Nifti2Image, b"n+2")):
        length = kind.header_class.template_dtype.itemsize
        found = start[344:347] if magic == b"n+1" else start[4:7]
        if found == magic and len(start) >= length:
            try:
                return kind, kind.header_class(start[:length], check=False)
            except (ValueError, nibabel.spatialimages.HeaderDataError) as error:
                raise unreadable(path, str(error)) from None
    raise unreadable(path, "it does not begin with a NIfTI header of voxels in the same file")


def _shape(path: Path, header: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """Number of voxels along every axis, and bytes of each; raises DataError for a bad header."""
    from nibabel.nifti1 import data_type_codes

    types: Any = data_type_codes.dtype
    axes = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : axes + 1]) if 1 <= axes <= 7 else ()
    sides, offset = [float(v) for v in header["pixdim"][1:4]], float(header["vox_offset"])
    code = int(header["datatype"])
    known = code in types and types[code].itemsize > 0
    if not shape or min(shape) < 1:
        fault = f"the size {list(shape)} of {axes} axes"
    elif not known:
        fault = f"voxels of the unknown type {code}"
    elif not all(math.isfinite(v) and (i >= axes or v != 0) for i, v in enumerate(sides)):
        fault = f"the voxel size {sides}"
    elif not int(header["sizeof_hdr"]) <= offset <= _EXTENSIONS:
        fault = f"voxels that begin at byte {offset:g}"
    elif bad := _bad_transforms(header):
        fault = f"a {bad} with values that are not finite"
    elif any(math.isinf(float(header[name])) for name in ("scl_slope", "scl_inter")):
        fault = "an infinite slope or intercept"
    else:
        return shape, int(types[code].itemsize)
    raise DataError(
        f"{path.name} cannot be read: its header states {fault}",
        where=f"{path}, {path.stat().st_size} bytes",
        mend="correct the header, or convert the image again from its source",
    )


def _bad_transforms(header: Mapping[str, Any]) -> str:
    """Which of the transforms in use is not finite; empty if all are."""
    groups = {
        "sform": ("srow_x", "srow_y", "srow_z"),
        "qform": ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    }
    for name, fields in groups.items():
        values = np.concatenate([np.ravel(header[field]) for field in fields])
        if int(header[f"{name}_code"]) > 0 and not np.isfinite(values).all():
            return name
    return ""


def _gunzip(path: Path, content: bytes, length: int) -> bytes:
    """The bytes of a gzip file, its checksum right; refuses one that holds more than promised."""
    parts: list[bytes] = []
    room, rest = length + _SLACK, content
    while rest.strip(b"\0"):
        member = zlib.decompressobj(_GZIP)
        parts.append(member.decompress(rest, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise DataError(
                f"{path.name} cannot be read: it expands to more than the {length:,} bytes that "
                "its header promises",
                where=f"{path}, {len(content)} bytes",
                mend="compress the image again from its source",
            )
        if not member.eof:
            raise EOFError("the compressed file ends early")
        rest = member.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _affine_grid(ras: np.ndarray) -> Geometry:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras  # RAS to LPS
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    with np.errstate(all="ignore"):  # a spacing of 0 is refused with the grid
        direction = affine[:3, :3] / spacing
    return Geometry(
        spacing_mm=tuple(float(v) for v in spacing[::-1]),  # type: ignore[arg-type]
        origin_mm=tuple(float(v) for v in affine[:3, 3]),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in direction.ravel()),
    )
