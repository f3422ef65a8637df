"""Names and values of a site's labels, compared with the task's and translated into them.

A site's label maps may use other values, and its `dataset.json` other names, than the task. Nothing
is guessed: what differs is a fault, until the federation file says what it means
(`sites.NAME.label_names`). Label maps are then read through a `ValueMap`; the files stay as they
are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fednnunet.errors import InputError
from fednnunet.task import Task
from fednnunet.text import nearest

IGNORE = "ignore"  # nnU-Net's name of the value that is left out of loss and scores
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueMap:
    """Pairs of a value in a site's label maps and the task's value that it stands for.

    Values that no pair names stand for themselves, unless another value was mapped onto them.
    """

    pairs: tuple[tuple[int, int], ...] = ()

    def known(self, task: Task) -> tuple[int, ...]:
        """The values that the site's label maps may hold, sorted."""
        taken = {new for _, new in self.pairs}
        own = {value for value in task.values if value not in taken}
        return tuple(sorted(own | {old for old, _ in self.pairs}))

    def of(self, value: int) -> int:
        """The task's value that a site's value stands for."""
        return dict(self.pairs).get(value, value)

    def apply(self, label: np.ndarray) -> np.ndarray:
        """A label map (any shape, int16) in the task's values; the same array without pairs."""
        if all(old == new for old, new in self.pairs):
            return label
        result = label.copy()
        for old, new in self.pairs:
            result[label == old] = new
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFault:
    """A difference between a site's labels and the task's, and how to mend it."""

    what: str
    mend: str


def compare_labels(
    labels: Mapping[str, tuple[int, ...]], task: Task, names: Mapping[str, str], *, site: str = ""
) -> tuple[ValueMap, tuple[NameFault, ...]]:
    """How a site's label maps are read, and everything in which its labels differ from the task's.

    `labels` are the site's, by name (regions have several values); `names` says which of its names
    or values stands for which of the task's. Upper and lower case are the same, and any name may
    stand for the background.
    """
    faults: list[NameFault] = []
    own = {name: values[0] for name, values in labels.items() if len(values) == 1}
    pairs = _mapped(own, task, names, faults)
    known = task_values(task)
    for name, values in labels.items():
        if _is_region(name, values, task) or (len(values) == 1 and values[0] in pairs):
            continue
        if len(values) != 1:
            faults += _region_faults(name, values, task)
            continue
        value, wanted = values[0], known.get(name.casefold())
        if wanted == value and names:
            pairs[value] = value  # beside others that are read as the same label
        if wanted == value or (value == 0 and wanted is None):
            continue
        faults.append(_moved(name, value, wanted, task, site))
    return ValueMap(pairs=tuple(sorted(pairs.items()))), tuple(faults)


def task_values(task: Task) -> dict[str, int]:
    """The value of each of the task's labels by its name in lower case, `ignore` included."""
    values = {name.casefold(): value for value, name in enumerate(task.labels)}
    return values if task.ignore is None else {IGNORE: task.ignore} | values


def check_targets(names: Mapping[str, str], task: Task, *, site: str) -> None:
    """Raise InputError where `label_names` of a site names a label that the task does not have."""
    for name, target in names.items():
        if target.casefold() not in task_values(task):
            raise InputError(
                f"label_names of site {site} reads {name!r} as {target!r}, which the task does not "
                f"name{did_you_mean(target, task.labels)}",
                where=f"sites.{site}.label_names",
                mend=f"choose from {list(task.labels)}",
            )


def did_you_mean(name: str, names: tuple[str, ...]) -> str:
    """The most similar of `names` as a remark in brackets; empty if none is similar."""
    found = nearest(name, names)
    return f" (did you mean {found!r}?)" if found is not None else ""


def _mapped(
    own: Mapping[str, int], task: Task, names: Mapping[str, str], faults: list[NameFault]
) -> dict[int, int]:
    """The task's value of each of the site's values that `names` speaks of."""
    by_lower = {name.casefold(): value for name, value in own.items()}
    known, pairs = task_values(task), dict[int, int]()
    for name, target in names.items():
        value = by_lower.get(name.casefold(), int(name) if name.isdecimal() else None)
        if value is None:
            faults.append(
                NameFault(
                    what=f"label_names speaks of {name!r}, which dataset.json does not name"
                    f"{did_you_mean(name, tuple(own))}",
                    mend=f"use a name of dataset.json ({', '.join(own) or 'it has none'}), or the "
                    "value in the label maps",
                )
            )
            continue
        new = known[target.casefold()]
        if pairs.setdefault(value, new) != new:
            faults.append(
                NameFault(
                    what=f"label_names reads the value {value} as two of the task's labels, "
                    f"one of them {target!r}",
                    mend="name each value once",
                )
            )
    return pairs


def _is_region(name: str, values: tuple[int, ...], task: Task) -> bool:
    regions = {region.casefold(): set(found) for region, found in task.regions.items()}
    return regions.get(name.casefold()) == set(values)


def _region_faults(name: str, values: tuple[int, ...], task: Task) -> Iterator[NameFault]:
    if not values:
        yield NameFault(
            what=f"dataset.json gives the label {name!r} an empty list of values",
            mend="give it its value in the label maps, or remove it",
        )
    elif task.regions:
        wanted = {region: list(found) for region, found in task.regions.items()}
        yield NameFault(
            what=f"dataset.json has the region {name!r} of the values {list(values)}, the task has "
            f"{wanted}",
            mend="give the regions of dataset.json the task's names and values",
        )
    elif unknown := sorted(set(values) - set(task.values)):
        yield NameFault(
            what=f"dataset.json has the label values {unknown}, the task has {list(task.values)}",
            mend="correct dataset.json, or add the labels to the task",
        )


def _moved(name: str, value: int, wanted: int | None, task: Task, site: str) -> NameFault:
    """The fault of a label whose name or value is not the task's."""
    table = f"sites.{site or 'NAME'}.label_names"
    if wanted is not None:
        return NameFault(
            what=f"label {name!r} has the value {value} in dataset.json and {wanted} in the task",
            mend=f"correct dataset.json if the label maps use the task's values; if they use "
            f"{value} for {name}, add {_entry(name, _name_of(wanted, task))} to {table} in the "
            "federation file",
        )
    if value in task.values:
        title = _name_of(value, task)
        return NameFault(
            what=f"label {value} is {name!r} in dataset.json and {title!r} in the task",
            mend=f"if both mean the same, add {_entry(name, title)} to {table} in the federation "
            "file; if not, the site cannot take part with these label maps",
        )
    return NameFault(
        what=f"dataset.json has the label {name!r} with the value {value}, which the task does not "
        f"name{did_you_mean(name, task.labels)}",
        mend=f"if it is one of the task's labels, add {_entry(name, task.labels[-1])} (or another "
        f"one) to {table} in the federation file; if not, correct dataset.json, or add the label "
        "to the task",
    )


def _name_of(value: int, task: Task) -> str:
    return task.labels[value] if value < len(task.labels) else IGNORE


def _entry(name: str, target: str) -> str:
    """The entry of the mapping as it is written in TOML."""
    key = name if _BARE_KEY.fullmatch(name) else '"' + name.replace('"', '\\"') + '"'
    return f'{{{key} = "{target}"}}'
