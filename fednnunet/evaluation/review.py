"""The page on which a reader accepts or rejects pseudo-labels. It stays at the site."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fednnunet.errors import InputError
from fednnunet.evaluation.page import png_source, write_page
from fednnunet.evaluation.pictures import STRUCTURES
from fednnunet.evaluation.verdict import Verdict
from fednnunet.files import read_lines

ACCEPTED = "accepted.txt"
"""The name under which the page saves its list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCase:
    """A pseudo-labelled case: how unsure it is, and how much of each target was found."""

    case: str
    unsure_share: float | None
    """Unsure voxels for every voxel found (see `inference.uncertainty`); None if none was."""
    volumes_ml: dict[str, float] = field(default_factory=dict)
    """The volume of each target in ml."""

    @property
    def rank(self) -> float:
        """Where it stands on the page: the most unsure first, and those without a mask before."""
        return math.inf if self.unsure_share is None else self.unsure_share


def by_uncertainty(cases: Sequence[ReviewCase]) -> tuple[ReviewCase, ...]:
    """The most unsure case first."""
    return tuple(sorted(cases, key=lambda case: (-case.rank, case.case)))


def write_review(
    path: Path,
    cases: Sequence[ReviewCase],
    pictures: Mapping[str, bytes],
    *,
    task: str,
    source: str,
) -> None:
    """Write the page, atomically: every case with its picture, the most unsure first.

    `pictures` holds a PNG for each case, `task` and `source` (the bundle) are for the heading. The
    page refers to nothing outside itself; its button saves the list of ticked cases.
    """
    targets = sorted({name for case in cases for name in case.volumes_ml})
    listed = [name for case in cases[:1] for name in case.volumes_ml]
    colours = {name: STRUCTURES[i % len(STRUCTURES)] for i, name in enumerate(listed)}
    write_page(
        path,
        "review.html.j2",
        page={
            "title": f"{task}: pseudo-labels to review",
            "facts": (("cases", len(cases)), ("bundle", source)),
            "notes": (),
            "verdict": Verdict(),
        },
        cases=[(case, png_source(pictures[case.case])) for case in by_uncertainty(cases)],
        targets=listed or targets,
        colours=colours,
        file=ACCEPTED,
    )


def read_accepted(path: Path) -> tuple[str, ...]:
    """The cases of a list, one name a line; lines that begin with # are comments.

    Raises InputError for a file that is no text, or names no case or one twice.
    """
    names = read_lines(
        path, mend="give a text file with the name of a case on each line, as the page saves it"
    )
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        what = f"names {twice[0]} twice" if twice else "names no case"
        raise InputError(
            f"the list {path.name} {what}",
            where=str(path),
            mend="write the name of every accepted case once, each on a line",
        )
    return tuple(names)
