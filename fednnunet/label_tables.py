"""Boxes and tables of presence: the files beside the label maps that `dataset.json` names."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fednnunet.case_labels import Corner, LabelBox
from fednnunet.errors import DataError, FedNNUNetError, InputError
from fednnunet.records import is_too_deep

_LARGEST_BYTES = 64 << 20
_TRUTH = {"1": True, "0": False, "true": True, "false": False}
_BOXES_MEND = (
    'write {"unit": "voxel", "cases": {"case_009": [{"label": "tumour", "low": [1, 2, 3], '
    '"high": [4, 5, 6]}]}}; the unit is "voxel" or "mm"'
)
_PRESENCE_MEND = (
    "write a CSV file with the columns case, label and present (1 or 0), or a JSON file "
    '{"case_010": {"tumour": true}}'
)


@dataclass(slots=True)
class Presence:
    """Classes, by value, that a table says a case contains or lacks."""

    present: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)


def read_boxes(
    path: Path, values: Mapping[str, int], site: str
) -> tuple[dict[str, tuple[LabelBox, ...]], list[FedNNUNetError]]:
    """The boxes of each case in a JSON file, and every fault of it; `values` are those of labels.

    Whether a box lies in its volume is checked when the volume is read.
    """
    faults: list[FedNNUNetError] = []
    try:
        data = _json(path, _BOXES_MEND)
    except InputError as fault:
        return {}, [_at(site, path, "", fault.what, fault.mend)]
    unit, cases = data.get("unit"), data.get("cases")
    if unit not in ("voxel", "mm") or not isinstance(cases, dict):
        what = f"the unit of {path.name} is {unit!r}, or it has no table of cases"
        return {}, [_at(site, path, "", what, _BOXES_MEND)]
    found: dict[str, tuple[LabelBox, ...]] = {}
    for case, entries in cases.items():
        boxes = []
        for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            place = f"$.cases.{case}[{number}]"
            box, wrong = _box(entry, unit, values)
            faults += [_at(site, path, place, f"a box of case {case} {w}", m) for w, m in wrong]
            boxes += [box] if box else []
        found[case] = tuple(boxes)
    return found, faults


def _box(
    entry: Any, unit: Any, values: Mapping[str, int]
) -> tuple[LabelBox | None, list[tuple[str, str]]]:
    """A box, or what is wrong with it and how to mend that."""
    corners = [_corner(entry.get(name)) for name in ("low", "high")] if _is_box(entry) else [None]
    low, high = corners[0], corners[-1]
    if low is None or high is None:
        return None, [("is not written as one", _BOXES_MEND)]
    wrong = []
    if entry["label"] not in values:
        wrong.append((f"has the unknown label {entry['label']!r}", f"choose from {list(values)}"))
    if any(b <= a for a, b in zip(low, high, strict=True)):
        what = f"goes from {_shown(low)} to {_shown(high)}, so that it holds nothing"
        wrong.append((what, "write a low corner below the high one along every axis"))
    if unit == "voxel" and not all(edge.is_integer() for edge in (*low, *high)):
        what = f"goes from {_shown(low)} to {_shown(high)}, between voxels"
        wrong.append((what, 'use whole numbers, or "unit": "mm"'))
    if wrong:
        return None, wrong
    return LabelBox(label=values[entry["label"]], low=low, high=high, unit=unit), []


def _is_box(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"label", "low", "high"}
        and isinstance(entry["label"], str)
    )


def _corner(values: Any) -> Corner | None:
    if not isinstance(values, list) or len(values) != 3:
        return None
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        return None
    if not all(abs(v) < 1e9 for v in values):  # NaN too
        return None
    return float(values[0]), float(values[1]), float(values[2])


def _shown(corner: Iterable[float]) -> list[float]:
    return [int(v) if math.isfinite(v) and v.is_integer() else v for v in corner]


def add_presence(
    found: dict[str, Presence], path: Path, values: Mapping[str, int], site: str
) -> list[FedNNUNetError]:
    """Add what a table (CSV or JSON) says of each case's classes to `found`; all faults of it."""
    faults: list[FedNNUNetError] = []
    try:
        rows = list(_json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path))
    except InputError as fault:
        return [_at(site, path, "", fault.what, fault.mend)]
    for place, case, label, present in rows:
        truth = _TRUTH.get(str(present).strip().lower())
        if truth is None or label not in values:
            what = f"{path.name} says {present!r} of {label!r} in case {case}"
            mend = f"say 1 or 0 of a class of the task: {', '.join(values)}"
            faults.append(_at(site, path, place, what, mend))
            continue
        said = found.setdefault(case, Presence())
        if values[label] in said.present | said.absent:
            what = f"{path.name} has case {case} with the label {label} for a second time"
            faults.append(_at(site, path, place, what, "keep one of the two"))
            continue
        (said.present if truth else said.absent).add(values[label])
    return faults


_Row = tuple[str, str, str, Any]  # where, case, label, present


def _csv_rows(path: Path) -> Iterator[_Row]:
    try:
        lines = _text(path).splitlines()
        reader = csv.DictReader(lines)
        if set(reader.fieldnames or ()) != {"case", "label", "present"}:
            raise InputError(
                f"{path.name} has the columns {list(reader.fieldnames or ())}", mend=_PRESENCE_MEND
            )
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"line {reader.line_num} of {path.name} has not three cells",
                    mend=_PRESENCE_MEND,
                )
            yield f"line {reader.line_num}", row["case"], row["label"], row["present"]
    except csv.Error as error:
        raise InputError(f"{path.name} is not CSV: {error}", mend=_PRESENCE_MEND) from None


def _json_rows(path: Path) -> Iterator[_Row]:
    for case, labels in _json(path, _PRESENCE_MEND).items():
        if not isinstance(labels, dict):
            raise InputError(f"{path.name} has no table for case {case}", mend=_PRESENCE_MEND)
        for label, present in labels.items():
            yield f"$.{case}.{label}", case, label, present


def _json(path: Path, mend: str) -> dict[str, Any]:
    """A JSON object in which no key occurs twice; raises InputError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{path.name} has {twice!r} twice", mend="keep one of the two")
        return found

    try:
        data = json.loads(_text(path), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not JSON: {error}", mend=mend) from None
    if not isinstance(data, dict) or is_too_deep(data):
        raise InputError(f"{path.name} is not a table of cases", mend=mend)
    return data


def _text(path: Path) -> str:
    """The text of a file that is not too large; raises InputError."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(
                f"{path.name} has more than {_LARGEST_BYTES >> 20} MiB", mend="name another file"
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(
            f"{path.name} cannot be read: {reason}",
            mend="correct the name in dataset.json, or restore the file",
        ) from None


def _at(site: str, path: Path, place: str, what: str, mend: str) -> DataError:
    where = ", ".join(filter(None, (f"site {site}" if site else "", str(path), place)))
    return DataError(what, where=where, mend=mend)
