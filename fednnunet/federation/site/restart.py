"""What a site has done, as records in its own folder, so that a restart need not repeat it.

A record says what it was made from; where the site's cases have changed since, the site does that
work again before it answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fednnunet import records
from fednnunet.dataset import Case
from fednnunet.errors import FedNNUNetError
from fednnunet.planning.plan import Plan
from fednnunet.task import Task

VERSION = 1  # of these records; raise it to have cases measured anew

SpacingAndShape = tuple[tuple[float, float, float], tuple[int, int, int]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Spacing in mm and shape in voxels (z, y, x) of each case, for the histogram of shapes.

    `digest` is that of the files they were measured from, `files_digest`.
    """

    digest: str
    task: Task
    cases: tuple[SpacingAndShape, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The plan that the site was sent last. Its prepared cases are checked by keys of their own."""

    version: int
    plan: Plan
    configuration: str


class ProgressRecords:
    """The records in a site's own working folder."""

    def __init__(self, base: Path) -> None:
        self._measured = base / "measured.json"
        self._prepared = base / "prepared.json"

    def keep_measured(
        self, task: Task, cases: Sequence[Case], found: Sequence[SpacingAndShape]
    ) -> None:
        """Write down that the site has measured its cases, and what was found."""
        record = Measured(digest=files_digest(cases), task=task, cases=tuple(found))
        records.write(record, self._measured)

    def measured(self) -> Measured | None:
        """What was measured last, if anything was; hold its digest against the files."""
        return _read(Measured, self._measured)

    def keep_prepared(self, plan: Plan, configuration: str) -> None:
        """Write down that the site has prepared its cases by a plan."""
        record = Prepared(version=VERSION, plan=plan, configuration=configuration)
        records.write(record, self._prepared)

    def prepared(self) -> Prepared | None:
        """By which plan cases were prepared last, if they were."""
        found = _read(Prepared, self._prepared)
        return found if found and found.version == VERSION else None


def files_digest(cases: Sequence[Case]) -> str:
    """SHA-256 of the names and files of cases, wherever their folder lies."""
    digest = hashlib.sha256(f"version {VERSION}".encode())
    for case in cases:
        for path in (*case.images, *((case.label,) if case.label else ())):
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{case.name}/{path.name}/{content}\n".encode())
    return digest.hexdigest()


def _read(kind: type[T], path: Path) -> T | None:
    """The record, or None where there is none or one of another version: the work is redone."""
    try:
        return records.read(kind, path)
    except FedNNUNetError:
        return None
