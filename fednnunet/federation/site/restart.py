"""By which plan a site has prepared its cases, in its own folder, so that it survives a restart.

What it has answered for planning is kept in `measurements`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fednnunet import records
from fednnunet.errors import FedNNUNetError
from fednnunet.planning.plan import Plan

VERSION = 1  # of this record; raise it to have the plan sent anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The plan that the site was sent last. Its prepared cases are checked by keys of their own."""

    version: int
    plan: Plan
    configuration: str


class ProgressRecords:
    """The record in a site's own working folder."""

    def __init__(self, base: Path) -> None:
        self._prepared = base / "prepared.json"

    def keep_prepared(self, plan: Plan, configuration: str) -> None:
        """Write down that the site has prepared its cases by a plan."""
        record = Prepared(version=VERSION, plan=plan, configuration=configuration)
        records.write(record, self._prepared)

    def prepared(self) -> Prepared | None:
        """By which plan cases were prepared last, if they were by this version of the record."""
        try:
            found = records.read(Prepared, self._prepared)
        except FedNNUNetError:
            return None
        return found if found.version == VERSION else None
