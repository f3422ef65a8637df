"""Volumes on disk: the one package that knows SimpleITK and nibabel.

Arrays keep the order in which they are stored (z, y, x as ITK counts), nothing is reoriented, so
what is written back lies on the input's own grid whatever its orientation. Every header is checked
before a library may act on it: sizes against the file's own and the machine's memory, and detached
voxels must lie in the header's folder.
"""

from __future__ import annotations

from fednnunet.io.formats import ENDINGS, check_promise, ending, name_fault
from fednnunet.io.grid import check_grid, grid_difference
from fednnunet.io.probabilities import write_probabilities_nifti, write_probabilities_npz
from fednnunet.io.read import (
    read_4d,
    read_dicom_slices,
    read_header,
    read_label,
    read_raw,
    read_volume,
)
from fednnunet.io.write import write_mask, write_volume

__all__ = [
    "ENDINGS",
    "check_grid",
    "check_promise",
    "ending",
    "grid_difference",
    "name_fault",
    "read_4d",
    "read_dicom_slices",
    "read_header",
    "read_label",
    "read_raw",
    "read_volume",
    "write_mask",
    "write_probabilities_nifti",
    "write_probabilities_npz",
    "write_volume",
]
