"""A folder of masks with what a reader judges them by: pictures and figures of each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fednnunet import records
from fednnunet.dataset import Case
from fednnunet.errors import InputError
from fednnunet.files import storing
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.export import Wanted
from fednnunet.inference.predict import Outcome
from fednnunet.task import Task

REVIEW = "review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """The bundles that the masks of a folder come from, by their digests."""

    bundles: tuple[str, ...]

    @property
    def source(self) -> str:
        """As `dataset.json` names it."""
        word = "bundle" if len(self.bundles) == 1 else "bundles"
        return f"{word} {', '.join(self.bundles)}"


class ReviewFiles:
    """What is written beside each mask: a map in a folder of its own, a picture, and figures."""

    maps: ClassVar[str]
    """Folder of the maps."""

    def __init__(self, folder: Path, task: Task) -> None:
        self._folder, self._task = folder, task

    def map_path(self, case: Case) -> Path:
        """Where a case's map is."""
        return self._folder / self.maps / f"{case.name}.nii.gz"

    def picture_path(self, case: Case) -> Path:
        """Where a case's picture is."""
        return self._folder / REVIEW / f"{case.name}.png"

    def figures_path(self, case: Case) -> Path:
        """Where a case's figures are."""
        return self._folder / REVIEW / f"{case.name}.json"

    def _paths(self, case: Case) -> tuple[Path, ...]:
        return self.map_path(case), self.picture_path(case), self.figures_path(case)

    def there(self, case: Case) -> bool:
        """Whether a case has all of them."""
        return all(path.is_file() for path in self._paths(case))

    @property
    def wanted(self) -> Wanted:
        """How sure the model is."""
        return Wanted(entropy=True)

    def clear(self, case: Case) -> None:
        """Remove all of them."""
        for path in self._paths(case):
            with storing(path):
                path.unlink(missing_ok=True)

    def pictures(self, cases: Sequence[Case]) -> dict[str, bytes]:
        """The pictures of some cases, by name."""
        return {case.name: self.picture_path(case).read_bytes() for case in cases}


def check_digests(bundles: Sequence[Bundle], folder: Path, *, overwrite: bool) -> Digests:
    """The digests of the bundles; raises InputError where `folder` holds what others made, unless
    `overwrite`."""
    digests = Digests(bundles=tuple(bundle.digest for bundle in bundles))
    if overwrite or not _digests_path(folder).is_file():
        return digests
    if read_digests(folder) != digests:
        raise InputError(
            "the folder holds pseudo-labels of another bundle",
            where=str(folder),
            mend="choose another output folder, or give --overwrite",
        )
    return digests


def read_digests(folder: Path) -> Digests:
    """The bundles that the masks in `folder` come from; raises InputError without any."""
    return records.read(Digests, _digests_path(folder))


def write_digests(digests: Digests, folder: Path) -> None:
    """Make `folder`, and write into it whose masks it has."""
    folder.mkdir(parents=True, exist_ok=True)
    records.write(digests, _digests_path(folder))


def finished(cases: Sequence[Case], outcome: Outcome) -> list[Case]:
    """The cases that have a mask now."""
    done = {*outcome.written, *outcome.kept}
    return [case for case in cases if case.name in done]


def _digests_path(folder: Path) -> Path:
    return folder / REVIEW / "bundles.json"
