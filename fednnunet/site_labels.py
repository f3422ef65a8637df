"""The kinds of labels of a site's cases, from its own `dataset.json`.

    "supervision": {
      "default": {"kind": "full"},
      "cases": {
        "case_007": {"kind": "scribble", "unmarked": 3},
        "case_008": {"kind": "partial", "annotated": ["brainstem"]},
        "case_009": {"kind": "box", "boxes": "boxes.json"},
        "case_010": {"kind": "image", "presence": "presence.csv"},
        "case_011": {"kind": "none"}
      }
    }

The default is for the cases of `imagesTr` that are not named. The short form `"annotated": {"case":
["brainstem", ...]}` stands for partial cases. Of what the file does not say, the federation file's
`labels` and `annotated` of the site hold. Cases of a test set (`imagesTs`) have full labels, or
those of the federation file, unless they are named.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from fednnunet import records
from fednnunet.case_labels import CaseLabels, LabelBox
from fednnunet.dataset_header import FILE, label_values, named_values
from fednnunet.errors import DataError, FedNNUNetError, InputError, single_faults
from fednnunet.label_names import ValueMap
from fednnunet.label_tables import Presence, add_presence, read_boxes
from fednnunet.supervision import (
    MAX_BOX_CLASSES,
    SPARSE,
    Supervision,
    SupervisionKind,
    partial_supervision,
)
from fednnunet.task import Task
from fednnunet.text import plural

Read = TypeVar("Read")

_DEFAULT = ""  # among the names of cases
_ONLY_FOR: dict[str, frozenset[str]] = {
    "unmarked": SPARSE,
    "boxes": frozenset({"box"}),
    "map": frozenset({"box"}),
    "source": frozenset({"pseudo"}),
    "annotated": SPARSE | {"partial", "box"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEntry:
    """What `dataset.json` says of one case, or of all that it does not name."""

    kind: SupervisionKind
    """What was annotated, and how."""
    annotated: tuple[str, ...] = ()
    """The classes that were looked for; all of the task's where none is named."""
    unmarked: int | None = None
    """The value of unmarked voxels in the map; by default the task's ignore value."""
    boxes: str | None = None
    """JSON file with the boxes, in the site's folder."""
    map: bool = False
    """Whether the label map is filled with the boxes, in place of a file."""
    presence: str | None = None
    """CSV or JSON file of the classes that a case has and lacks, in the site's folder. It is what
    an "image" case is labelled by; the label map of another case is checked against it."""
    source: str = ""
    """What made the labels of a "pseudo" case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """The fields of `supervision`. Each entry is read on its own, so that all faults are found."""

    default: Any = None
    cases: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Short:
    """The classes that partial cases annotate, without more words."""

    annotated: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_site_labels(
    header: dict[str, Any],
    folder: Path,
    task: Task,
    *,
    site: str,
    agreed: Supervision,
    training: Collection[str],
    test: Collection[str],
    values: ValueMap,
) -> tuple[dict[str, CaseLabels], list[FedNNUNetError]]:
    """The labels of every case of `imagesTr` (`training`) and `imagesTs` (`test`), and all faults.

    `header` is the contents of `dataset.json`, `agreed` what the federation file says of the
    site's labels, `values` how its label values are read as the task's. A case of which something
    is wrong has the labels that are agreed.
    """
    reader = _Reader(folder=folder, task=task, site=site, agreed=agreed)
    own = [(name, values.of(value)) for name, value in label_values(header).items()]
    reader.values |= {name: value for name, value in own if 0 < value < len(task.labels)}
    entries = reader.entries(header)
    default = entries.pop(_DEFAULT, None)
    known = {*training, *test}
    of_case = {name: entries.get(name, default if name in training else None) for name in known}
    reader.read_tables([*entries.values(), *([default] if default else [])])
    reader.check_names(entries, known)
    found = {}
    for name, entry in sorted(of_case.items()):
        if entry is None:
            entry = LabelEntry(kind=agreed.kind, annotated=reader.names(agreed.annotated))
        found[name] = replace(reader.labels(name, entry), values=values)
    reader.check_full({values.of(value) for value in named_values(header)}, found)
    return found, reader.faults


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Reads what a site says of its labels; `faults` gathers all that is wrong."""

    folder: Path
    task: Task
    site: str
    agreed: Supervision
    values: dict[str, int] = field(default_factory=dict)
    presence: dict[str, Presence] = field(default_factory=dict)
    boxes: dict[str, tuple[LabelBox, ...]] = field(default_factory=dict)
    faults: list[FedNNUNetError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.values |= {label: value for value, label in enumerate(self.task.labels) if value}

    def names(self, values: Iterable[int]) -> tuple[str, ...]:
        """The names of label values."""
        return tuple(self.task.labels[value] for value in values)

    def entries(self, header: dict[str, Any]) -> dict[str, LabelEntry]:
        """The entries by case; that of the default under an empty name."""
        stated = self._decode(_Stated, header.get("supervision", {}), "$.supervision") or _Stated()
        given = {} if stated.default is None else {_DEFAULT: stated.default}
        found = {}
        for name, data in (given | stated.cases).items():
            entry = self._decode(LabelEntry, data, f"$.supervision.{name or 'default'}")
            if entry:
                found[name] = entry
        short = self._decode(_Short, {"annotated": header.get("annotated", {})}, "$") or _Short()
        for name, classes in short.annotated.items():
            if name in stated.cases:
                what = f'{FILE} names case {name} in "annotated" and in "supervision"'
                self._fault(what, "keep one of the two")
            found[name] = LabelEntry(kind="partial", annotated=classes)
        return found

    def read_tables(self, entries: Collection[LabelEntry]) -> None:
        """Read every file that an entry names, once."""
        for file in sorted({entry.boxes for entry in entries if entry.boxes}):
            if path := self._path(file):
                boxes, faults = read_boxes(path, self.values, self.site)
                self.faults += faults
                for name in sorted(boxes.keys() & self.boxes.keys()):
                    self._fault(f"two files have the boxes of case {name}", "keep one of the two")
                self.boxes |= boxes
        for file in sorted({entry.presence for entry in entries if entry.presence}):
            if path := self._path(file):
                self.faults += add_presence(self.presence, path, self.values, self.site)

    def check_names(self, entries: Collection[str], known: Collection[str]) -> None:
        """Cases that have no image."""
        named = ((FILE, entries), ("a file of boxes", self.boxes), ("a table", self.presence))
        for file, names in named:
            for name in sorted(set(names) - set(known)):
                what = f"{file} says what labels case {name} has, but there is no such image"
                self._fault(what, "correct the name of the case, or take it out")

    def check_full(self, named: Collection[int], found: Mapping[str, CaseLabels]) -> None:
        """Cases with full labels in a folder whose file names labels, but not all of the task's.

        What is not annotated would be taught as background. `named` are the file's values, read as
        the task's.
        """
        lacking = [name for value, name in enumerate(self.task.labels) if value not in {0, *named}]
        full = sum(labels.supervision.kind == "full" for labels in found.values())
        if named and lacking and full:
            others = [name for name in self.task.labels[1:] if name not in lacking]
            self._fault(
                f"the labels lack {lacking}, but {plural(full, 'case')} should be labelled in full",
                f"if the site annotates them, add them to the labels of {FILE}; if not, write into "
                f'the site\'s table of the federation file: labels = "partial", annotated = '
                f"{json.dumps(others)}",
            )

    def labels(self, name: str, entry: LabelEntry) -> CaseLabels:
        """The labels of a case by its entry, or those that are agreed where something is wrong."""
        before = len(self.faults)
        self._check_fields(name, entry)
        said = self.presence.get(name, Presence())
        present, absent = tuple(sorted(said.present)), tuple(sorted(said.absent))
        boxes = self._boxes_of(name, entry)
        supervision = self._supervision(name, entry, present, absent)
        if len(self.faults) > before or supervision is None:
            return CaseLabels(supervision=self.agreed)
        is_image = entry.kind == "image"
        return CaseLabels(
            supervision=supervision,
            unmarked=entry.unmarked,
            boxes=boxes,
            present=() if is_image else present,
            absent=() if is_image else absent,
            source=entry.source,
        )

    def _check_fields(self, name: str, entry: LabelEntry) -> None:
        """Fields that contradict the kind, or that it lacks."""
        for field_name, kinds in _ONLY_FOR.items():
            if getattr(entry, field_name) not in (None, False, "", ()) and entry.kind not in kinds:
                what = f"case {name} is of kind {entry.kind!r} and has {field_name!r}"
                self._fault(what, f"leave it out, or use one of the kinds {sorted(kinds)}")
        if entry.kind == "none" and entry.presence and name in self.presence:
            what = f'case {name} is of kind "none", but {entry.presence} says what it contains'
            self._fault(what, 'use the kind "image"')
        if entry.kind == "image" and name not in self.presence:
            what = f'case {name} is of kind "image", but no table says what it contains'
            self._fault(what, 'name a table: "presence": "presence.csv", with rows of the case')
        if entry.kind == "partial" and not entry.annotated:
            what = f'case {name} is of kind "partial" and annotates nothing'
            self._fault(what, 'list the classes that are annotated, or use the kind "none"')
        self._check_unmarked(name, entry)

    def _check_unmarked(self, name: str, entry: LabelEntry) -> None:
        unmarked, task = entry.unmarked, self.task
        if unmarked is None:
            if entry.kind in ("scribble", "point") and task.ignore is None:
                what = f"nothing says which value of the map of case {name} means unmarked"
                self._fault(what, f'write it: {{"kind": "{entry.kind}", "unmarked": 3}}')
        elif not 0 <= unmarked < 2**15 or 0 < unmarked < len(task.labels):
            what = (
                f"the value {unmarked} of unmarked voxels of case {name} is a class, or too large"
            )
            self._fault(what, f"use 0, or a value from {len(task.labels)} to {2**15 - 1}")

    def _boxes_of(self, name: str, entry: LabelEntry) -> tuple[LabelBox, ...] | None:
        """The boxes of a "box" case; None where they are in its map."""
        if entry.kind != "box":
            if name in self.boxes:
                what = f"a file has boxes of case {name}, which is of kind {entry.kind!r}"
                self._fault(what, 'use the kind "box", or take the boxes out')
            return None
        if (entry.boxes is None) != entry.map:
            what = f"the boxes of case {name} are in a file and in its map, or nowhere"
            self._fault(what, 'write "boxes": "boxes.json", or "map": true for a filled map')
            return None
        if entry.boxes and name not in self.boxes:
            what = f"case {name} is not in {entry.boxes}"
            self._fault(what, "add it, with an empty list where it has no object")
        boxes = self.boxes.get(name, ())
        annotated = {self.values[label] for label in entry.annotated if label in self.values}
        odd = {box.label for box in boxes if annotated and box.label not in annotated}
        if odd:
            what = f"case {name} has boxes of {list(self.names(sorted(odd)))}, not annotated"
            self._fault(what, "add the class to what the case annotates, or take the boxes out")
        if any(value > MAX_BOX_CLASSES for value in annotated | {box.label for box in boxes}):
            what = f"case {name} has boxes of a class whose value is above {MAX_BOX_CLASSES}"
            self._fault(what, f"give the classes that have boxes values up to {MAX_BOX_CLASSES}")
        return None if entry.map else boxes

    def _supervision(
        self, name: str, entry: LabelEntry, present: tuple[int, ...], absent: tuple[int, ...]
    ) -> Supervision | None:
        unknown = [label for label in entry.annotated if label not in self.values]
        if unknown:
            what = f"case {name} annotates {unknown}, which the task does not name"
            self._fault(what, f"choose from {list(self.values)}")
            return None
        values = tuple(sorted({self.values[label] for label in entry.annotated}))
        if not values and entry.kind in SPARSE | {"box"}:
            values = self.agreed.annotated
        is_image = entry.kind == "image"
        try:
            if entry.kind == "partial" and values:
                supervision = partial_supervision(values, self.task)
            else:
                supervision = Supervision(
                    kind=entry.kind,
                    annotated=values,
                    present=present if is_image else (),
                    absent=absent if is_image else (),
                )
        except InputError:  # a field that contradicts the kind, which is among the faults
            return None
        odd = supervision.classes(self.task) - self.agreed.classes(self.task)
        if odd:
            what = (
                f"case {name} annotates {list(self.names(sorted(odd)))}, which the federation file "
                "says the site does not annotate"
            )
            mend = f"correct the labels in {FILE}, or sites.NAME.annotated in the federation file"
            self._fault(what, mend)
        return supervision

    def _path(self, file: str) -> Path | None:
        """The place of a file in the site's folder, which it must not leave."""
        parts = PurePosixPath(file).parts
        if not parts or ".." in parts or "/" in parts[0] or "\0" in file:
            self._fault(f"{file!r} is not a file in the site's folder", "name a file there")
            return None
        return self.folder / file

    def _decode(self, kind: type[Read], data: Any, place: str) -> Read | None:
        try:
            return records.decode(kind, data)
        except FedNNUNetError as error:
            for fault in single_faults(error):
                what = fault.what.replace("$", place, 1) if fault.what[:1] == "$" else fault.what
                self._fault(what, fault.mend, place + fault.where.removeprefix("$"))
        return None

    def _fault(self, what: str, mend: str, place: str = "") -> None:
        parts = (f"site {self.site}" if self.site else "", str(self.folder / FILE), place)
        self.faults.append(DataError(what, where=", ".join(filter(None, parts)), mend=mend))
