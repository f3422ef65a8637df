"""The prepared cases of a site: written in parallel, resumable, and reused if unchanged."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fednnunet import records
from fednnunet.dataset import Case
from fednnunet.errors import DataError, InputError
from fednnunet.files import sha256_of
from fednnunet.planning.orientation import AS_STORED
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.preprocess.load import load_case
from fednnunet.preprocess.locations import class_locations, no_locations
from fednnunet.preprocess.pipeline import prepare_volume
from fednnunet.preprocess.stored_case import (
    MAX_OPEN,
    RECORD,
    StoredCase,
    clear_leftovers,
    stored_key,
    write_case,
)
from fednnunet.preprocess.workers import Header, affordable, run_jobs
from fednnunet.progress import Progress

VERSION = 1  # of the preprocessing; increase it to have all cases prepared again


@dataclass(frozen=True, slots=True)
class Store:
    """The prepared cases of one site for one configuration; recently used ones stay open."""

    folder: Path
    names: tuple[str, ...]
    _open: dict[str, StoredCase] = field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[Store], tuple[Path, tuple[str, ...]]]:
        """For pickling: without the open cases."""
        return Store, (self.folder, self.names)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """List the completely written cases in `folder`."""
        if not folder.is_dir():
            raise InputError(
                f"no prepared cases in {folder}", where=str(folder), mend="prepare the site first"
            )
        found = (path.parent.name for path in folder.glob(f"*/{RECORD}"))
        return cls(folder, tuple(sorted(name for name in found if not name.startswith("."))))

    def case(self, name: str) -> StoredCase:
        """One case by its name; raises InputError if it is not there."""
        if name not in self.names:
            raise InputError(
                f"case {name} is not prepared",
                where=str(self.folder),
                mend="prepare the site's cases again",
            )
        if name not in self._open:
            if len(self._open) >= MAX_OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[name] = StoredCase(self.folder / name)
        return self._open[name]


def prepare_site(
    cases: Sequence[Case],
    plan: Plan,
    configuration_name: str,
    folder: Path,
    *,
    workers: int = 1,
    memory_gib: float | None = None,
    progress: Progress | None = None,
) -> Store:
    """Prepare a site's cases into `folder` in parallel; continues after an interruption.

    A case is prepared again only if its files, or the parts of the plan that it depends on, have
    changed. `memory_gib` limits all workers together; fewer are started if cases are large. Cases
    that fail, or whose worker is killed, are listed in one error at the end; the others are kept.
    """
    configuration = plan.configuration(configuration_name)
    folder.mkdir(parents=True, exist_ok=True)
    clear_leftovers(folder)
    jobs = {c.name: _Job(c, plan, configuration_name, folder) for c in cases}
    count = affordable(
        cases, workers, memory_gib, bytes_of=lambda h: _peak_bytes(h, plan, configuration)
    )
    run_jobs(_prepare, jobs, workers=count, progress=progress, what="prepare")
    return Store(folder, tuple(sorted(jobs)))


def _peak_bytes(header: Header, plan: Plan, configuration: Configuration) -> float:
    """Peak memory of preparing a case, from its voxels before and after; measured on CT."""
    spacing = [header.spacing_mm[axis] for axis in plan.transpose]
    target = (*spacing[: 3 - len(configuration.spacing_mm)], *configuration.spacing_mm)
    scale = math.prod(spacing) / math.prod(target)
    before, after = 5 * header.channels + 7, 4 * header.channels + 6
    return header.voxels * (before + scale * after)


@dataclass(frozen=True, slots=True)
class _Job:
    case: Case
    plan: Plan
    configuration: str
    folder: Path


def _prepare(job: _Job) -> None:
    """Prepare one case, unless it is already stored with the same key."""
    case, plan = job.case, job.plan
    configuration = plan.configuration(job.configuration)
    key = case_key(case, plan, job.configuration)
    if stored_key(job.folder, case.name) == key:
        return
    volume, label = load_case(case, plan.task)
    kind = case.labels.supervision.kind
    prepared = prepare_volume(volume, plan, configuration, label, kind)
    del volume, label
    seg = prepared.seg
    locations = no_locations() if seg is None else class_locations(seg, plan.task, kind)
    write_case(
        job.folder,
        case.name,
        prepared,
        key=key,
        patch_vox=configuration.patch_vox,
        locations=locations,
    )


def case_key(case: Case, plan: Plan, configuration_name: str) -> str:
    """A hash of all that a case's preparation depends on: its files and labels, parts of the plan.

    Which classes a complete map annotates changes nothing in it; the loss asks for it.
    """
    configuration = plan.configuration(configuration_name)
    parts: dict[str, Any] = {
        "version": VERSION,
        "transpose": plan.transpose,
        "spacing": configuration.spacing_mm,
        "normalisation": configuration.normalisation,
        "use_mask": configuration.use_mask,
        "resampling": configuration.resampling,
        "intensity": plan.intensity if "ct" in configuration.normalisation else (),
        "values": plan.task.values,
    }
    if plan.orientation != AS_STORED:
        parts["orientation"] = plan.orientation
    labels = case.labels
    if labels.values.pairs:
        parts["label values"] = labels.values.pairs
    if labels.supervision.kind not in ("full", "partial"):
        parts["labels"] = (labels.supervision.kind, labels.unmarked, labels.boxes)
    digest = hashlib.sha256(json.dumps(records.encode(parts), sort_keys=True).encode())
    for path in (*case.images, *(() if case.label is None else (case.label,))):
        if not path.is_file():
            raise DataError(
                f"{path.name} is missing",
                where=str(path),
                mend="restore the file, or remove the case",
            )
        digest.update(sha256_of(path))
    return digest.hexdigest()
