"""Probabilities of all classes in one file, written a class at a time."""

from __future__ import annotations

import gzip
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from fednnunet.files import replacing
from fednnunet.io.nifti import affine_of
from fednnunet.volume import Geometry

_LEVEL = 1  # of compression: probabilities hardly get smaller by a higher one
_WHOLE = 2**16 - 1


def write_probabilities_nifti(values: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write probabilities (k, z, y, x) as one compressed 4D NIfTI file, the class last.

    NIfTI knows no float16. Values are stored as uint16 with a slope of 1 / 65535, which every
    reader applies: steps of 1.5e-5, finer than those of float16 above 0.03.
    """
    import nibabel

    header = nibabel.Nifti1Header() if max(values.shape) < 2**15 else nibabel.Nifti2Header()
    header.set_data_dtype(np.uint16)
    header.set_data_shape(values.shape[::-1])
    affine = affine_of(geometry)
    header.set_sform(affine, 1)
    header.set_qform(affine, 1, strip_shears=True)
    header.set_slope_inter(1 / _WHOLE, 0)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    with replacing(path) as temporary, gzip.open(temporary, "wb", _LEVEL) as stream:
        start = BytesIO()
        header.write_to(start)
        stream.write(start.getvalue().ljust(header.single_vox_offset, b"\0"))
        for channel in values:
            scaled = np.rint(np.clip(channel, 0, 1).astype(np.float32) * _WHOLE)
            stream.write(scaled.astype("<u2").tobytes())


def write_probabilities_npz(values: np.ndarray, path: Path) -> None:
    """Write probabilities (k, z, y, x) as nnU-Net does: float16 `probabilities` in an `.npz`."""
    described = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)),
        "fortran_order": False,
        "shape": values.shape,
    }
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as packed,
        packed.open("probabilities.npy", "w", force_zip64=True) as stream,
    ):
        np.lib.format.write_array_header_1_0(stream, described)
        for channel in values:
            stream.write(np.ascontiguousarray(channel, np.float16).tobytes())
