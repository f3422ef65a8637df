"""What becomes of the cases whose labels a reader at the site called wrong: `training.noisy`.

    keep         they train as they are
    down-weight  they are sampled less often, by the weight in the site's list
    drop         they do not train
    correct      they train with the corrected label map that the reader accepted; without one they
                 do not train

Held-out cases stay as they are: a score is against the labels in the site's folder. Planning counts
all cases, so that the plan does not depend on the list. Sampling a case `w` times as often gives
its loss the weight `w` in expectation, with any loss and any kind of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fednnunet.dataset import Case
from fednnunet.errors import DataError
from fednnunet.evaluation.doubtful import DoubtfulCase, Noisy, read_doubtful
from fednnunet.files import sha256_of
from fednnunet.label_names import ValueMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """The cases to train on, and how often those are sampled that `weights` names (others: 1)."""

    cases: tuple[Case, ...]
    weights: dict[str, float] = field(default_factory=dict)


def screen(cases: Sequence[Case], path: Path | None, noisy: Noisy, *, site: str) -> Screened:
    """What of a site's training cases trains, by the site's list of doubtful labels, if it has one.

    A case whose label map has changed since the review is not doubtful any more. Raises InputError
    for a list that cannot be read, and DataError where no case is left or a corrected map is gone.
    """
    if path is None or noisy == "keep":
        return Screened(cases=tuple(cases))
    doubtful = read_doubtful(path).cases
    left: list[Case] = []
    weights: dict[str, float] = {}
    for case in cases:
        found = doubtful.get(case.name)
        if found is None or not _same_map(case, found):
            left.append(case)
        elif noisy == "down-weight":
            left.append(case)
            weights[case.name] = found.weight
        elif noisy == "correct" and found.corrected:
            left.append(_corrected(case, path.parent / found.corrected, site))
    if cases and all(weights.get(case.name, 1.0) == 0 for case in left):
        raise DataError(
            "the labels of all training cases are doubtful, and none is left to train on",
            where=f"site {site}, {path}",
            mend='correct labels, take cases off the list, or set noisy = "keep"',
        )
    return Screened(cases=tuple(left), weights=weights)


def _same_map(case: Case, found: DoubtfulCase) -> bool:
    if case.label is None or not case.label.is_file():
        return False
    return sha256_of(case.label).hex() == found.label_sha256


def _corrected(case: Case, path: Path, site: str) -> Case:
    """The case with its corrected label map, whose values are the task's own."""
    if not path.is_file():
        raise DataError(
            f"the corrected label map of case {case.name} is missing",
            where=f"site {site}, {path}",
            mend="review the site's labels again, or restore the file",
        )
    return replace(case, label=path, labels=replace(case.labels, values=ValueMap()))
