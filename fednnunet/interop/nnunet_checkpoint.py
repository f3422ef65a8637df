"""Read a checkpoint of nnU-Net v2 without running anything that is in it.

A checkpoint is a pickle, and a pickle can call any function. It is therefore read by torch's
restricted reader (`weights_only=True`), which builds tensors and plain values, and here also the
numbers of numpy that nnU-Net's log holds. Whatever else a checkpoint asks for is refused. Files
that are not the zip archive that torch has written since 2020 are refused too: the reader of the
older formats has had holes.
"""

from __future__ import annotations

import codecs
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.text import shown

_PARTS = ("network_weights", "init_args", "trainer_name")
_DTYPES = ("Float16", "Float32", "Float64", "Int32", "Int64", "Bool")
_COPY = "copy the checkpoint again from its source"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """What a checkpoint says; the tensors are read from the file when they are used."""

    weights: dict[str, torch.Tensor]
    """The network's tensors by nnU-Net's names."""
    configuration: str
    """Name of the configuration that was trained."""
    trainer: str
    """Name of the class that trained it."""
    mirror_axes: tuple[int, ...]
    """Axes of the patch that were mirrored in training; empty for none."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read `checkpoint_final.pth`; raises InputError for whatever nnU-Net v2 has not written."""
    _check_archive(path)
    data = _load(path)
    missing = [part for part in _PARTS if not isinstance(data, Mapping) or part not in data]
    if missing:
        raise _not_nnunet(path, f"it has no {missing[0]}")
    weights, arguments = data["network_weights"], data["init_args"]
    named = isinstance(arguments, Mapping) and isinstance(arguments.get("configuration"), str)
    if not named or not isinstance(data["trainer_name"], str):
        raise _not_nnunet(path, "it does not name its configuration and trainer")
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in weights.items()
    ):
        raise _not_nnunet(path, "its network_weights are not tensors by name")
    axes = data.get("inference_allowed_mirroring_axes")
    axes = () if axes is None else axes
    if not isinstance(axes, (list, tuple)) or not all(
        type(axis) is int and axis in range(3) for axis in axes
    ):
        raise _not_nnunet(path, "its inference_allowed_mirroring_axes are no axes of a patch")
    return Checkpoint(
        weights=dict(weights),
        configuration=arguments["configuration"],
        trainer=data["trainer_name"],
        mirror_axes=tuple(axes),
    )


def _check_archive(path: Path) -> None:
    """Raise InputError unless it is a zip as torch writes it, which nothing in it makes larger."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except FileNotFoundError:
        raise InputError(f"{path.name} is missing", where=str(path), mend=_COPY) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise InputError(
            f"{path.name} is cut off, or no checkpoint that torch has written since 2020: {error}",
            where=str(path),
            mend=_COPY,
        ) from None
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise InputError(
            f"{path.name} is compressed inside, which torch never does",
            where=str(path),
            mend="save it again with torch.save",
        )


def _load(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path.name} holds more than tensors and plain values, so it was not opened: "
            f"{_asked_for(str(error))}",
            where=str(path),
            mend="ask its author for a checkpoint as nnU-Net v2 saves it, without objects in it",
        ) from None
    except FedNNUNetError:
        raise
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for a damaged file
        raise InputError(
            f"{path.name} cannot be read: {shown(str(error), 200)}", where=str(path), mend=_COPY
        ) from None


def _harmless() -> list[Any]:
    """What builds numbers of numpy, under the names of numpy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = [type(np.dtype(name.lower())) for name in _DTYPES]
    return [*((scalar, name) for name in names), np.dtype, *kinds, codecs.encode]


def _asked_for(message: str) -> str:
    """The function or class that torch's reader named in its refusal."""
    found = re.search(r"GLOBAL ([\w.]+)", message)
    return f"it asks for {found[1][:80]}" if found else "it asks for code"


def _not_nnunet(path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} is no checkpoint of nnU-Net v2: {why}",
        where=str(path),
        mend="give the folder or zip of a model that nnU-Net v2 has trained",
    )
