"""The file in which a site lists its doubtful labels, after a reader has looked at them.

`preprocessing/review_labels.py` writes it beside the corrected label maps, a site's `site.toml`
names it, and `training.noisy` says what becomes of the cases in it. It never leaves the site.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.files import read_lines
from fednnunet.ranges import Within, check_ranges

FILE_NAME = "doubtful.json"

Noisy = Literal["keep", "down-weight", "drop", "correct"]
"""What a training does with doubtful cases."""

CORRECTED = "corrected"
"""The word behind a case's name in a reader's list, if its corrected map is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtfulCase:
    """A case whose label map a reader called wrong."""

    label_sha256: str
    """Digest of that label map. A case whose map has changed since is not doubtful any more."""
    weight: Annotated[float, Within(0, 1)] = 0.1
    """How often the case is sampled with "down-weight", against one that is not doubtful."""
    corrected: str = ""
    """The corrected label map that the reader accepted, relative to this file; or nothing."""

    def __post_init__(self) -> None:
        check_ranges(self, InputError, mend="give a weight from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtfulLabels:
    """The doubtful cases of a site, by name, and the bundle that made them doubtful."""

    source: str
    """The bundle, by its digest."""
    cases: dict[str, DoubtfulCase] = field(default_factory=dict)
    """The cases."""


def read_doubtful(path: Path) -> DoubtfulLabels:
    """The list in `path`; raises InputError where it is missing or damaged."""
    if not path.is_file():
        raise InputError(
            f"the list of doubtful labels {path.name} is missing",
            where=str(path),
            mend="correct doubtful_labels in site.toml, or take the line out",
        )
    return records.read(DoubtfulLabels, path)


def read_wrong(path: Path) -> dict[str, bool]:
    """The cases of a reader's list, each with whether its corrected map is right.

    A line holds the name of a case, and the word "corrected" behind it if so; lines that begin with
    # are comments. Raises InputError for a file that is no text, or that names a case twice.
    """
    found: dict[str, bool] = {}
    for line in read_lines(path, mend="give the text file that the page saved"):
        words = line.rsplit(maxsplit=1)
        right = len(words) == 2 and words[1] == CORRECTED
        name = words[0] if right else line
        if name in found:
            raise InputError(
                f"the list {path.name} names {name} twice",
                where=str(path),
                mend="leave one of its lines out",
            )
        found[name] = right
    return found
