"""`dataset.json` of nnU-Net's raw layout: its channels and labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fednnunet.errors import DataError, FedNNUNetError, InputError
from fednnunet.label_names import ValueMap, compare_labels
from fednnunet.records import is_too_deep
from fednnunet.task import MAX_LABELS, Task

FILE = "dataset.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """`dataset.json` as it was read: its fields (none without a file), and how it fits the task."""

    fields: dict[str, Any] = field(default_factory=dict)
    values: ValueMap = field(default_factory=ValueMap)
    """How the site's label maps are read."""
    faults: tuple[FedNNUNetError, ...] = ()
    """In what the file differs from the task."""


def read_header(
    folder: Path, task: Task, site: str = "", label_names: Mapping[str, str] | None = None
) -> Header:
    """`dataset.json` of a site, compared with the task.

    `label_names` says which of the site's names or values stands for which of the task's labels.
    """
    path = folder / FILE
    where = f"site {site}, {path}" if site else str(path)
    fields: dict[str, Any] = {}
    try:
        fields = _load(path) if path.is_file() else {}
    except InputError as fault:
        return Header(faults=(DataError(fault.what, where=where, mend=fault.mend),))
    labels = fields.get("labels")
    entries = labels.items() if isinstance(labels, dict) else ()
    own = {_name(key, entry): _values(key, entry) for key, entry in entries}
    values, differences = compare_labels(own, task, label_names or {}, site=site)
    faults: list[FedNNUNetError] = _channel_faults(fields, task, where)
    faults += [DataError(found.what, where=where, mend=found.mend) for found in differences]
    return Header(fields=fields, values=values, faults=tuple(faults))


def task_of(folder: Path) -> Task:
    """The task in a site's `dataset.json`; raises InputError if the file is not usable."""
    path = folder / FILE
    if not folder.is_dir():
        raise InputError("the site's folder is missing", where=str(folder), mend="correct the path")
    if not path.is_file():
        raise InputError(
            f"{FILE} is missing, so the task is not known",
            where=str(path),
            mend="add a dataset.json with channel_names and labels",
        )
    header = _load(path)
    channels, labels = channel_names(header), header.get("labels")
    if not channels or not isinstance(labels, dict):
        raise InputError(
            f"{FILE} names no channels or no labels",
            where=str(path),
            mend='add "channel_names": {"0": "MRI"}, "labels": {"background": 0, "tumour": 1}',
        )
    pairs = {key: _values(key, value) for key, value in labels.items()}
    ignore = next((v[0] for k, v in pairs.items() if k == "ignore" and v), None)
    names = {v[0]: _name(k, labels[k]) for k, v in pairs.items() if len(v) == 1 and v[0] != ignore}
    regions = {k: v for k, v in pairs.items() if v not in ((0,), (ignore,))}
    overlapping = any(len(values) > 1 for values in regions.values())
    highest = max((value for v in pairs.values() for value in v if value != ignore), default=0)
    if highest >= MAX_LABELS:
        raise InputError(
            f"{FILE} has the label value {highest}",
            where=str(path),
            mend=f"number the labels from 0 on, at most to {MAX_LABELS - 1}",
        )
    return Task(
        name=str(header.get("name", folder.name)),
        channels=tuple(channels),
        labels=tuple(names.get(value, f"label {value}") for value in range(highest + 1)),
        regions=regions if overlapping else {},
        ignore=ignore,
    )


def channel_names(header: dict[str, Any]) -> list[str]:
    """Channel names in order; empty if the header has none."""
    named = header.get("channel_names", header.get("modality"))
    if not isinstance(named, dict):
        return []
    return [str(named[key]) for key in sorted(named, key=_number)]


def label_values(header: dict[str, Any]) -> dict[str, int]:
    """The value of each label that stands for one, by the file's own names."""
    labels = header.get("labels")
    pairs = labels.items() if isinstance(labels, dict) else ()
    values = ((_name(key, entry), _values(key, entry)) for key, entry in pairs)
    return {name: found[0] for name, found in values if len(found) == 1}


def named_values(header: dict[str, Any]) -> frozenset[int]:
    """Every value that the file's labels and regions name; empty where it names none."""
    labels = header.get("labels")
    pairs = labels.items() if isinstance(labels, dict) else ()
    return frozenset(value for key, entry in pairs for value in _values(key, entry))


def _load(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{FILE} is not JSON: {error}",
            where=str(path),
            mend="correct the file at the place that the message names",
        ) from None
    if not isinstance(header, dict) or is_too_deep(header):
        raise InputError(
            f"{FILE} must be a table of fields",
            where=str(path),
            mend="write the file as a JSON object: {...}",
        )
    return header


def _channel_faults(header: dict[str, Any], task: Task, where: str) -> list[FedNNUNetError]:
    faults: list[FedNNUNetError] = []
    channels = channel_names(header)
    if channels and [c.lower() for c in channels] != [c.lower() for c in task.channels]:
        known = {c.lower() for c in channels}
        lacking = [repr(c) for c in task.channels if c.lower() not in known]
        what = f"the site has the channels {channels}, the task has {list(task.channels)}"
        what = f"the site lacks the channel {', '.join(lacking)}: {what}" if lacking else what
        mend = "use the same channels in the same order at every site"
        faults.append(DataError(what, where=where, mend=mend))
    return faults


def _values(key: str, entry: Any) -> tuple[int, ...]:
    """The values of one entry of `labels`; files of nnU-Net v1 map the value to the name."""
    if isinstance(entry, list):
        return tuple(_number(item) for item in entry)
    return (_number(key if isinstance(entry, str) else entry),)


def _name(key: str, entry: Any) -> str:
    return entry if isinstance(entry, str) else key


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return -1
