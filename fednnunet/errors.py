"""One family of errors. Each says what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class FedNNUNetError(Exception):
    """A fault that a user can understand and mend.

    `what` is one plain sentence, `where` names site, file or field, `mend` says what to do.
    `advice` is a code of `federation.wire.faults` for the coordinator, who is not shown the rest
    where the error happened at a site; "" takes the usual advice for the class.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend
        self.advice = advice

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.mend:
            lines.append(f"  mend:  {self.mend}")
        return "\n".join(lines)


class InputError(FedNNUNetError):
    """Something a user gave (a file, a value, a folder) cannot be used."""


class DataError(InputError):
    """A site's images or labels are not fit for the task."""


class StorageError(InputError):
    """A disk does not take what is to be written: it is full, read-only, or in the way."""


class PlanError(FedNNUNetError):
    """A plan is impossible, or cannot be made from what the sites sent."""


class ReplyError(FedNNUNetError):
    """A message is not acceptable: wrong kind, schema, names, shapes, or non-finite values."""


class RefusalError(FedNNUNetError):
    """A site will not answer: its own policy forbids it."""


class WorkerError(FedNNUNetError):
    """A process that worked for this one ended before its work was done, e.g. was killed."""


class OutOfMemoryError(FedNNUNetError):
    """The memory of the machine or of its GPU does not suffice."""


class ManyFaults(InputError):  # noqa: N818 - it is several errors, not one
    """Several faults found in one pass, reported together."""

    def __init__(self, what: str, faults: Iterable[FedNNUNetError]) -> None:
        self.faults = tuple(faults)
        super().__init__(what)

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"- {fault!s}" for fault in self.faults)])


def single_faults(error: FedNNUNetError) -> tuple[FedNNUNetError, ...]:
    """The single faults of an error: those of `ManyFaults`, at any depth, else the error itself."""
    if isinstance(error, ManyFaults):
        return tuple(single for fault in error.faults for single in single_faults(fault))
    return (error,)


def name_site(error: FedNNUNetError, site: str, folder: Path) -> None:
    """Make every fault name its site first, and its file as in the site's own folder."""
    for fault in single_faults(error):
        place = fault.where.replace(f"{folder}/", "")
        if place.split(",")[0] != f"site {site}":
            place = f"site {site}, {place}" if place else f"site {site}"
        fault.where = place


def raise_all(what: str, faults: Iterable[FedNNUNetError]) -> None:
    """Raise nothing for no faults, the fault itself for one, `ManyFaults` for several."""
    found = tuple(single for fault in faults for single in single_faults(fault))
    if len(found) == 1:
        raise found[0]
    if found:
        raise ManyFaults(f"{what}: {len(found)} faults", found)
