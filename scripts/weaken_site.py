"""Write one site's folder anew with weak or wrong labels, and a `dataset.json` that says so."""

from __future__ import annotations

import csv
import io as text_io
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import weaken_marks as marks

from fednnunet import io, records
from fednnunet.dataset import Case, read_dataset, split_cases
from fednnunet.dataset_header import FILE, task_of
from fednnunet.errors import InputError
from fednnunet.federation.site.policy import FILE_NAME
from fednnunet.files import write_text
from fednnunet.task import Task
from fednnunet.volume import Volume

Kind = Literal["full", "partial", "scribble", "point", "box", "image", "none", "wrong"]
BOXES, PRESENCE = "boxes.json", "presence.csv"
_MAPLESS = ("box", "image", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakening:
    """How the labels of a site are weakened."""

    kind: Kind
    """"wrong" are full labels with a fault; "full" are as they are, but what a "partial" case does
    not annotate becomes background."""
    classes: tuple[str, ...] = ()
    """For "partial" the classes that stay; with "full" the others become background."""
    fault: str = "dilated"
    """For "wrong": one of `weaken_marks.FAULTS`."""
    size_vox: int = 2
    """For "wrong": voxels by which it is dilated, eroded or shifted."""
    points: int = 5
    """For "point": marked voxels of each class in a case."""
    seed: int = 0


@dataclass(slots=True)
class Marked:
    """Voxels that were marked, of how many, by class; over the weakened cases of a site."""

    cases: int = 0
    kept: int = 0
    known: dict[int, int] = field(default_factory=dict)
    all: dict[int, int] = field(default_factory=dict)

    def add(self, label: np.ndarray, drawn: np.ndarray) -> None:
        """Count the voxels (z, y, x) of each class that `drawn` marks."""
        for value in np.unique(label):
            place = label == value
            key = int(value)
            self.all[key] = self.all.get(key, 0) + int(place.sum())
            self.known[key] = self.known.get(key, 0) + int((place & (drawn == value)).sum())

    def text(self, task: Task) -> str:
        """One line: the cases, and the share of marked voxels if any were counted."""
        line = f"{self.cases} cases weakened, {self.kept} kept"
        if not self.all:
            return line
        total = sum(self.known.values()) / sum(self.all.values())
        names = [f"{task.labels[v]} {self.known[v] / n:.1%}" for v, n in sorted(self.all.items())]
        return f"{line}; {total:.2%} of voxels marked ({', '.join(names)})"


def weaken_site(
    source: Path,
    output: Path,
    how: Weakening,
    *,
    keep: Collection[str] = (),
    test: Collection[str] = (),
    only: Collection[str] | None = None,
    copy: bool = False,
) -> Marked:
    """Write one site's folder with weakened labels; returns what was marked.

    The cases in `keep` keep their labels, those in `test` too and become the test set (imagesTs,
    labelsTs), so that every training holds them out; a test set that is there stays. Only the cases
    in `only` are taken, if given. Raises InputError for a folder that is there already, for classes
    or cases that are not there, and for labels that are weak already.
    """
    task = task_of(source)
    if output.exists():
        raise InputError(
            f"{output.name} is there already", where=str(output), mend="name a new folder"
        )
    header = json.loads((source / FILE).read_text(encoding="utf-8"))
    drawn = _drawn_classes(header, source, task)
    _check(how, task, drawn, {*keep, *test}, source)
    cases = {case.name: case for case in read_dataset(source, task, require_labels=False).cases}
    if unknown := sorted({*keep, *test, *(only or ())} - cases.keys()):
        raise InputError(f"{source.name} has no case {', '.join(unknown)}", mend="correct the name")
    if test and (source / "labelsTs").is_dir():
        raise InputError(
            f"{source.name} has a test set already",
            where=str(source / "labelsTs"),
            mend="hold out no further cases: the test set is kept",
        )
    site = _Site(task=task, output=output, how=how, drawn=drawn, copy=copy)
    for name in sorted(cases.keys() if only is None else only):
        if name in test:
            site.keep(cases[name], "Ts")
        elif name in keep:
            site.keep(cases[name], "Tr")
        else:
            site.weaken(cases[name])
    for part in ("imagesTs", "labelsTs"):
        _take(source / part, output / part, copy=copy)
    _take(source / FILE_NAME, output / FILE_NAME, copy=True)
    header.pop("annotated", None)
    header["supervision"] = {"default": site.default, "cases": site.cases}
    site.write_tables()
    records.write(header, output / FILE)
    return site.found


class _Site:
    """The weakened cases of one site, as they are written."""

    def __init__(
        self,
        *,
        task: Task,
        output: Path,
        how: Weakening,
        drawn: Mapping[str, tuple[str, ...]],
        copy: bool,
    ) -> None:
        self._output, self._how, self._drawn, self._copy = output, how, drawn, copy
        self.found = Marked()
        self._unmarked = len(task.labels) if task.ignore is None else task.ignore
        self._values = {name: value for value, name in enumerate(task.labels) if value}
        self._boxes: dict[str, list[dict[str, Any]]] = {}
        self._presence: list[tuple[str, str, int]] = []
        self.cases: dict[str, dict[str, Any]] = {}
        self.default: dict[str, Any] = {
            "partial": {"kind": "partial", "annotated": list(how.classes)},
            "scribble": {"kind": "scribble", "unmarked": self._unmarked},
            "point": {"kind": "point", "unmarked": self._unmarked},
            "box": {"kind": "box", "boxes": BOXES},
            "image": {"kind": "image", "presence": PRESENCE},
            "none": {"kind": "none"},
        }.get(how.kind, {"kind": "full"})

    def keep(self, case: Case, part: str) -> None:
        """Take over a case with the labels that it has, as training ("Tr") or test case ("Ts")."""
        names = self._drawn.get(case.name)
        self._take_images(case, part)
        if case.label is None:
            self.cases[case.name] = {"kind": "none"}
        else:
            self.cases[case.name] = (
                {"kind": "partial", "annotated": list(names)} if names else {"kind": "full"}
            )
            _take(case.label, self._output / f"labels{part}" / case.label.name, copy=True)
        self.found.kept += 1

    def weaken(self, case: Case) -> None:
        """Write what of a case's labels is left."""
        if case.label is None:
            raise InputError(
                f"case {case.name} has no label map to weaken", mend="label it, or --keep it"
            )
        volume = io.read_label(case.label)
        self._take_images(case, "Tr")
        self.found.cases += 1
        if self._how.kind in _MAPLESS:
            self._without_map(case, volume)
        else:
            target = self._output / "labelsTr" / case.label.name
            target.parent.mkdir(exist_ok=True)
            io.write_mask(self._map(case, volume), volume.geometry, target, like=case.label)

    def _take_images(self, case: Case, part: str) -> None:
        for path in case.images:
            _take(path, self._output / f"images{part}" / path.name, copy=self._copy)

    def _without_map(self, case: Case, volume: Volume) -> None:
        label = volume.array[0]
        names = {value: name for name, value in self._values.items()}
        if self._how.kind == "box":
            self._boxes[case.name] = [
                {"label": names[b.value], "low": list(b.low[::-1]), "high": list(b.high[::-1])}
                for b in marks.boxes(label, tuple(names))
            ]
        elif self._how.kind == "image":
            for value, name in names.items():
                self._presence.append((case.name, name, int((label == value).any())))

    def _map(self, case: Case, volume: Volume) -> np.ndarray:
        label, how = volume.array[0], self._how
        rng = np.random.default_rng(
            list(sha256(f"{how.seed}/{how.kind}/{case.name}".encode()).digest()[:16])
        )
        if how.kind == "wrong":
            return marks.FAULTS[how.fault](label, rng, how.size_vox)
        if how.kind in ("full", "partial"):
            kept = [self._values[name] for name in how.classes or self._values]
            return marks.erased(label, kept)
        if how.kind == "scribble":
            axis = int(np.argmax(volume.spacing_mm))
            drawn = marks.scribble(label, self._unmarked, rng, axis=axis)
        else:
            drawn = marks.points(label, self._unmarked, rng, count=how.points)
        self.found.add(label, drawn)
        return drawn

    def write_tables(self) -> None:
        """The file of boxes, or the table of what is present."""
        if self._how.kind == "box":
            records.write({"unit": "voxel", "cases": self._boxes}, self._output / BOXES)
        if self._how.kind == "image":
            text = text_io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("case", "label", "present"))
            writer.writerows(self._presence)
            write_text(self._output / PRESENCE, text.getvalue())


def _drawn_classes(header: dict[str, Any], source: Path, task: Task) -> dict[str, tuple[str, ...]]:
    """The classes that a "partial" case of the source annotates, by the short form in its header.

    Cases with all classes are not named. Raises InputError for labels that are weak already.
    """
    if "supervision" in header:
        raise InputError(
            f"{FILE} has labels of several kinds already",
            where=str(source / FILE),
            mend="give a folder of full or partial labels",
        )
    return {
        case: tuple(names)
        for case, names in header.get("annotated", {}).items()
        if not set(task.labels[1:]) <= set(names)
    }


def _check(
    how: Weakening,
    task: Task,
    drawn: Mapping[str, tuple[str, ...]],
    keep: Collection[str],
    source: Path,
) -> None:
    unknown = sorted(set(how.classes) - set(task.labels[1:]))
    if unknown or (how.kind == "partial") > bool(how.classes):
        raise InputError(
            f"the task has no class {', '.join(unknown)}" if unknown else "no class is named",
            mend=f"name --classes out of {', '.join(task.labels[1:])}",
        )
    partial = sorted(drawn.keys() - set(keep))
    if partial and how.kind not in ("full", "none"):
        raise InputError(
            f"case {partial[0]} is labelled for some classes only",
            where=str(source),
            mend="weaken full labels, or --keep such cases",
        )
    if how.size_vox < 1 or how.points < 1:
        raise InputError("size_vox and points must be positive", mend="give 1 or more")


def _take(source: Path, target: Path, *, copy: bool) -> None:
    """Link or copy a file, or every file of a folder; nothing where there is none."""
    if source.is_dir():
        for path in sorted(source.iterdir()):
            _take(path, target / path.name, copy=copy)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copyfile(source, target)
        else:
            os.symlink(source.resolve(), target)


def held_out_names(folder: Path, *, share: float, seed: int) -> tuple[str, ...]:
    """The cases of a site's folder that a training holds out by `held_out` and `split_seed`."""
    task = task_of(folder)
    cases = read_dataset(folder, task, require_labels=False).cases
    return tuple(case.name for case in split_cases(cases, fraction=share, seed=seed)[1])
