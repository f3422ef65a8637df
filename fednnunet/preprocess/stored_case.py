"""A prepared case on disk: a folder that is read in patches.

`NAME/data.b2nd` and `NAME/seg.b2nd` are blosc2 arrays with chunks of about the size of a patch,
`locations.npy` holds voxels of every class, and `case.json` the placement and the hash of the
inputs. A case is written to a temporary folder, which is then renamed, so that an interruption
never leaves an incomplete case.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.files import storing
from fednnunet.preprocess.pipeline import Placement, Prepared

RECORD = "case.json"
_BLOCK_BYTES = 1 << 17
_CHUNK_BYTES = 6 << 20
MAX_OPEN = 256  # cases of a site that are open at the same time
_SMALL_BYTES = 1 << 20  # arrays up to this size stay in memory; with two per case, at most 512 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """The contents of `case.json`; `key` is the hash of the case's inputs."""

    name: str
    key: str
    shape_vox: tuple[int, int, int]
    channels: int
    placement: Placement


class StoredCase:
    """One prepared case. Its arrays are opened when they are first read.

    Of large arrays only the requested boxes are loaded; small arrays are kept in memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record = records.read(CaseRecord, folder / RECORD)

    @property
    def name(self) -> str:
        """The case's name."""
        return self._record.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (z, y, x)."""
        return self._record.shape_vox

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return self._record.channels

    @property
    def placement(self) -> Placement:
        """The position of the prepared volume in its image."""
        return self._record.placement

    @cached_property
    def locations(self) -> dict[int, np.ndarray]:
        """Voxel indices (n, 3; z, y, x; int32) of each class present, for foreground oversampling.

        If voxels may be unknown, class -1 holds voxels of which something is known.
        """
        path = self.folder / "locations.npy"
        with _reading(path):
            table = np.load(path, allow_pickle=False)
        return {int(v): table[table[:, 0] == v, 1:] for v in np.unique(table[:, 0])}

    def read(self, low: Sequence[int], high: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The box from `low` to `high` (z, y, x; half open), cut off at the volume's edges.

        Returns the image float32 (c, z, y, x) and the labels int16 (z, y, x); do not modify them.
        Raises InputError for a damaged or missing file.
        """
        box = tuple(
            slice(min(max(int(a), 0), n), min(max(int(b), 0), n))
            for a, b, n in zip(low, high, self.shape, strict=True)
        )
        with _reading(self.folder / "data.b2nd"):
            image = self._data[(slice(None), *box)]
        with _reading(self.folder / "seg.b2nd"):
            return image, self._seg[box]

    @cached_property
    def _data(self) -> Any:
        return _small_whole(open_array(self.folder / "data.b2nd"))

    @cached_property
    def _seg(self) -> Any:
        return _small_whole(open_array(self.folder / "seg.b2nd"))


def stored_key(folder: Path, name: str) -> str | None:
    """The hash of a stored case's inputs; `None` if the case is missing or incomplete."""
    try:
        return records.read(CaseRecord, folder / name / RECORD).key
    except FedNNUNetError:
        return None


def write_case(
    folder: Path,
    name: str,
    prepared: Prepared,
    *,
    key: str,
    patch_vox: Sequence[int],
    locations: np.ndarray,
) -> None:
    """Write a case with its class locations (n, 4; class, z, y, x), replacing an earlier one."""
    shape = prepared.placement.prepared_shape
    seg = prepared.seg if prepared.seg is not None else np.zeros(shape, np.int16)
    patch = (1,) * (3 - len(patch_vox)) + tuple(patch_vox)
    temporary = folder / f".tmp-{os.getpid()}-{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    with storing(folder / name, temporary):
        temporary.mkdir(parents=True)
        _save(prepared.data, temporary / "data.b2nd", patch)
        _save(seg, temporary / "seg.b2nd", patch)
        np.save(temporary / "locations.npy", locations, allow_pickle=False)
        record = CaseRecord(
            name=name,
            key=key,
            shape_vox=shape,
            channels=len(prepared.data),
            placement=prepared.placement,
        )
        records.write(record, temporary / RECORD)
        _swap(temporary, folder / name)


def _swap(new: Path, place: Path) -> None:
    """Rename a folder to its final name, after removing an earlier one of that name."""
    if place.exists():
        old = place.with_name(f".tmp-old-{os.getpid()}-{place.name}")
        os.rename(place, old)
        shutil.rmtree(old)
    os.rename(new, place)


def clear_leftovers(folder: Path) -> None:
    """Remove incomplete files of an interrupted run. No other run may be writing here."""
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def chunk_shape(
    shape: Sequence[int], patch: Sequence[int], limit_bytes: int, itemsize: int
) -> tuple[int, ...]:
    """A box of about the size of `patch`, inside `shape`; halved until it fits `limit_bytes`."""
    box = [max(1, min(n, p)) for n, p in zip(shape, patch, strict=True)]
    while np.prod(box) * itemsize > limit_bytes:
        longest = int(np.argmax(box))
        box[longest] = (box[longest] + 1) // 2
    return tuple(box)


def _save(array: np.ndarray, path: Path, patch: Sequence[int]) -> None:
    import blosc2

    spatial, size = array.shape[-3:], array.itemsize
    lead = (1,) * (array.ndim - 3)
    chunks = chunk_shape(spatial, patch, _CHUNK_BYTES, size)
    blocks = chunk_shape(spatial, chunks, _BLOCK_BYTES, size)
    blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=(*lead, *chunks),
        blocks=(*lead, *blocks),
        urlpath=str(path),
        mode="w",
        cparams={"codec": blosc2.Codec.LZ4, "clevel": 5, "nthreads": 1},
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors in reading a file of a prepared case into an InputError."""
    try:
        yield
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(
            f"{path.name} of a prepared case is damaged or missing: {error}",
            where=str(path),
            mend=f"remove the folder {path.parent}, so that the case is prepared again",
        ) from None


def _small_whole(array: Any) -> Any:
    """The array, loaded into memory if it is small."""
    return array[...] if array.nbytes <= _SMALL_BYTES else array


def open_array(path: Path) -> Any:
    """A blosc2 array on disk, for reading slices."""
    import blosc2

    return blosc2.open(urlpath=str(path), mode="r", dparams={"nthreads": 1})
