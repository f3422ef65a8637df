"""Image formats by the endings of their names, and the faults that all readers share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fednnunet.errors import DataError
from fednnunet.system import memory_bytes
from fednnunet.text import printable

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def ending(path: Path) -> str | None:
    """The image format's ending of a file name, `None` if it is no format of ours."""
    name = path.name.lower()
    return next((e for e in ENDINGS if name.endswith(e)), None)


def is_nifti(path: Path) -> bool:
    """Whether a name says that the file is NIfTI."""
    return ending(path) in (".nii", ".nii.gz")


def name_fault(path: Path) -> DataError | None:
    """Why a file's name cannot be handed to an image library; `None` if it can.

    SimpleITK ends the process for a name that is not UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = printable(path.name)
        return DataError(
            f"the name {shown} is not UTF-8",
            where=printable(str(path)),
            mend="rename the file with plain letters and digits",
        )
    return None


def check_file(path: Path) -> None:
    """Raise DataError for a file that is missing, of no known format, or badly named."""
    if fault := name_fault(path):
        raise fault
    if not path.is_file():
        raise DataError(f"{path.name} is missing", where=str(path), mend="restore the file")
    if ending(path) is None:
        raise DataError(
            f"{path.name} is no image format that can be read",
            where=str(path),
            mend=f"convert it to one of {', '.join(ENDINGS)}",
        )


def check_promise(path: Path, *, voxels: int, itemsize: int) -> int:
    """Bytes of so many voxels, as a header promises them.

    Raises DataError where these, and the same as float32, do not fit this machine's memory.
    """
    promised, memory = voxels * itemsize, memory_bytes()
    if promised + 4 * voxels > memory:
        raise DataError(
            f"{path.name} promises {promised / 2**30:,.1f} GiB of voxels, more than this machine's "
            f"memory of {memory / 2**30:,.1f} GiB can hold",
            where=f"{path}, {path.stat().st_size} bytes",
            mend="see whether its header is damaged; if it is not, use a machine with more memory",
        )
    return promised


def not_3d(path: Path, shape: Sequence[int]) -> DataError:
    """The fault of a file that is not one 3D image."""
    return DataError(
        f"{path.name} is not one 3D image: its size is {list(shape)}",
        where=str(path),
        mend="write every channel and time point into a 3D file of its own",
    )


def unreadable(path: Path, reason: str) -> DataError:
    """The fault of a file that cannot be read, with the last line of a library's reason."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    shown = printable(lines[-1].rsplit(": ", 1)[-1][:160]) if lines else "unknown reason"
    size = f", {path.stat().st_size} bytes" if path.is_file() else ""
    return DataError(
        f"{path.name} cannot be read: {shown}",
        where=f"{path}{size}",
        mend="the file may be truncated: copy it again from its source",
    )
