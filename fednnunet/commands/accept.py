"""Accept pseudo-labels that a reader has seen: a copy of a site's folder that teaches them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fednnunet import io, records
from fednnunet.dataset import Case
from fednnunet.dataset_header import FILE
from fednnunet.errors import DataError, FedNNUNetError, InputError, raise_all
from fednnunet.files import storing
from fednnunet.labels.known import certain_labels, possible_labels
from fednnunet.preprocess.load import load_case
from fednnunet.supervision import UNKNOWN
from fednnunet.task import Task

_LINKED = ("imagesTr", "imagesTs")


def overruled(mask: np.ndarray, labels: np.ndarray | None, case: Case, task: Task) -> np.ndarray:
    """A pseudo-label (z, y, x) where what is known of the case has the last word.

    `labels` are the loaded ones of the case. Where the known leaves one label, the voxel gets it;
    where it excludes what the network found (outside of its boxes, say), background.
    """
    if labels is None:
        return mask
    known = torch.from_numpy(np.asarray(labels, np.int16)[None])
    possible = possible_labels(known, case.labels.supervision, task)
    certain = certain_labels(possible)[0].numpy()
    found = torch.from_numpy(mask.astype(np.int64))[None, None].clamp(max=len(task.labels) - 1)
    allowed = possible.gather(1, found)[0, 0].numpy()
    kept = np.where(allowed, mask, 0)
    return np.where(certain == UNKNOWN, kept, certain).astype(mask.dtype)


def write_accepted(
    source: Path,
    output: Path,
    accepted: Sequence[tuple[Case, Path]],
    task: Task,
    *,
    origin: str,
) -> None:
    """Write a copy of the site's folder `source` in which `accepted` cases are of kind "pseudo".

    Each comes with the path of its mask, which what is known of the case overrules. `origin` says
    where the masks come from, as `dataset.json` names it. Images are linked, all else is copied;
    the folder gets its name when it is whole. Raises InputError for a folder that is there already,
    and the faults of all cases together: a mask that is not on the image's grid, or without a class
    that the case is said to contain.
    """
    if output.exists():
        raise InputError(
            f"{output.name} is there already",
            where=str(output),
            mend="move it away, or name another output folder",
        )
    masks, faults = _masks(accepted, task)
    raise_all("some cases cannot be accepted", faults)
    building = output.with_name(f".tmp-{os.getpid()}-{output.name}")
    with storing(output, building):
        _copy_site(source, building)
        for case, mask in masks:
            _write_case(case, mask, building)
        _write_header(source, building, [case for case, _ in accepted], origin)
        os.replace(building, output)


def _masks(
    accepted: Sequence[tuple[Case, Path]], task: Task
) -> tuple[list[tuple[Case, np.ndarray]], list[FedNNUNetError]]:
    masks: list[tuple[Case, np.ndarray]] = []
    faults: list[FedNNUNetError] = []
    for case, path in accepted:
        try:
            masks.append((case, _mask(case, path, task)))
        except FedNNUNetError as fault:
            faults.append(fault)
    return masks, faults


def _mask(case: Case, path: Path, task: Task) -> np.ndarray:
    volume, labels = load_case(case, task)
    found = io.read_label(path)
    if difference := io.grid_difference(volume, found):
        raise DataError(
            f"the mask of case {case.name} is not on its image's grid: {difference}",
            where=str(path),
            mend="make the pseudo-labels of this folder again",
        )
    mask = overruled(found.array[0], labels, case, task)
    missing = [v for v in case.labels.supervision.present if not (mask == v).any()]
    if missing:
        names = ", ".join(task.labels[value] for value in missing)
        raise DataError(
            f"case {case.name} contains {names}, as its labels say, but the mask has nothing of it",
            where=str(path),
            mend="take the case off the list, or correct its label",
        )
    return mask


def _copy_site(source: Path, target: Path) -> None:
    """Copy a site's folder; images become links, since they do not change."""
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        copy = target / place
        if path.is_dir() or any(part.startswith(".") for part in place.parts):
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if place.parts[0] in _LINKED:
            copy.symlink_to(path.resolve())
        else:
            shutil.copyfile(path, copy)


def _write_case(case: Case, mask: np.ndarray, folder: Path) -> None:
    name = f"{case.name}{io.ending(case.images[0])}" if case.label is None else case.label.name
    path = folder / "labelsTr" / name
    volume = io.read_volume(case.images[:1])
    io.write_mask(mask, volume.geometry, path, like=case.images[0])


def _write_header(source: Path, folder: Path, cases: Sequence[Case], origin: str) -> None:
    """`dataset.json` with the new kind of the cases, whose boxes are taken out of their file."""
    header: dict[str, Any] = {}
    if (source / FILE).is_file():
        header = json.loads((source / FILE).read_text(encoding="utf-8"))
    supervision = header.setdefault("supervision", {})
    entries = supervision.setdefault("cases", {})
    files = {
        entry.get("boxes") for entry in (supervision.get("default"), *entries.values()) if entry
    }
    for case in cases:
        entries[case.name] = {"kind": "pseudo", "source": origin}
        header.get("annotated", {}).pop(case.name, None)
    records.write(header, folder / FILE)
    for name in sorted(name for name in files if name):
        path = folder / name
        boxes = json.loads(path.read_text(encoding="utf-8"))
        boxes["cases"] = {
            k: v for k, v in boxes["cases"].items() if k not in {c.name for c in cases}
        }
        records.write(boxes, path)
