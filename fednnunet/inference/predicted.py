"""The records beside the masks of a folder: their inputs, doubts about them, shares of experts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fednnunet import records
from fednnunet.errors import InputError

RECORD = "predictions.json"
ROUTES = "routing.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """For each mask in the folder, a digest of its inputs, and why it should not be trusted."""

    cases: dict[str, str] = field(default_factory=dict)
    """Digest of images, bundles and options."""
    warnings: dict[str, str] = field(default_factory=dict)
    """In what the image or its mask is unlike those of the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """For each case predicted with mixed experts, the share of each expert."""

    cases: dict[str, dict[str, float]] = field(default_factory=dict)


class PredictedFolder:
    """The records of a folder of masks; those of an earlier run are read, if they are whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found, routes = Predictions(), Routes()
        with suppress(InputError):  # there is none, or it is damaged: the cases are predicted again
            found = records.read(Predictions, folder / RECORD)
        with suppress(InputError):
            routes = records.read(Routes, folder / ROUTES)
        self.digests, self.warnings = dict(found.cases), dict(found.warnings)
        self._routes = dict(routes.cases)

    def add(
        self, case: str, digest: str, warning: str, shares: Iterable[Mapping[str, float]]
    ) -> None:
        """Write down a mask that was just written."""
        mixed = {name: share for part in shares for name, share in part.items()}
        if mixed:
            self._routes[case] = mixed
            records.write(Routes(cases=dict(sorted(self._routes.items()))), self._folder / ROUTES)
        self.digests[case] = digest
        self.warnings.pop(case, None)
        if warning:
            self.warnings[case] = warning
        found = Predictions(
            cases=dict(sorted(self.digests.items())), warnings=dict(sorted(self.warnings.items()))
        )
        records.write(found, self._folder / RECORD)
