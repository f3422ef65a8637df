"""One family of errors. Each says what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable


class FedNNUNetError(Exception):
    """A fault that a user can understand and mend.

    `what` is one plain sentence, `where` names site, file or field, `mend` says what to do.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

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


class PlanError(FedNNUNetError):
    """A plan is impossible, or cannot be made from what the sites sent."""


class ReplyError(FedNNUNetError):
    """A site's reply is not acceptable: wrong schema, names, shapes, or non-finite values."""


class RefusalError(FedNNUNetError):
    """A site will not answer: its own policy forbids it."""


class ManyFaults(InputError):
    """Several faults found in one pass, reported together."""

    def __init__(self, what: str, faults: Iterable[FedNNUNetError]) -> None:
        self.faults = tuple(faults)
        super().__init__(what)

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"- {str(fault)}" for fault in self.faults)])


def raise_all(what: str, faults: Iterable[FedNNUNetError]) -> None:
    """Raise nothing for no faults, the fault itself for one, `ManyFaults` for several."""
    found = tuple(faults)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ManyFaults(f"{what}: {len(found)} faults", found)
