"""Over which held-out cases a site has given scores, so that no two sums tell a few of them apart.

Sums of scores over nearly the same cases, of one model, differ by the scores of the few cases
between them. A site therefore keeps, for every set of held-out cases whose scores have left, the
digests of its cases. Scores over another set leave only if at least `min_cases` cases were added or
removed, compared with every earlier set; otherwise they stay at the site. The same holds for each
target and the cases that have it. Over the same cases every model may be scored.

The record stays at the site. A person at the site who wants scores to leave anyway deletes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fednnunet import records
from fednnunet.dataset import Case
from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.scores import SiteScores, TargetSums
from fednnunet.federation.site.measurements import changed_cases

FILE_NAME = "scored_cases.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSet:
    """The digests of a set of held-out cases, sorted."""

    cases: tuple[str, ...]
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For each target whose scores were given: the cases whose label map has it."""

    @classmethod
    def of(cls, cases: Sequence[Case], scores: Iterable[CaseScores]) -> ScoredSet:
        """The set of the cases that were scored, each with its scores."""
        digests = {case.name: _digest(case) for case in cases}
        targets: dict[str, list[str]] = {}
        for score in scores:
            for name, target in score.targets.items():
                having = targets.setdefault(name, [])
                having += [digests[score.case]] if target.reference_vox else []
        return cls(
            cases=tuple(sorted(digests.values())),
            targets={name: tuple(sorted(having)) for name, having in targets.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSets:
    """`scored_cases.json`: all sets whose scores have left, oldest first."""

    sets: tuple[ScoredSet, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Release:
    """The scores that may leave, and what the site's own log should say about them."""

    scores: SiteScores
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRelease:
    """Which scores may leave, by the record in `folder` and the site's `min_cases`."""

    folder: Path
    min_cases: int

    def release(self, scores: SiteScores, now: ScoredSet) -> Release:
        """The scores over the cases `now`, without those that earlier ones would tell apart.

        All are withheld where fewer than `min_cases` cases changed since some earlier set, and the
        sums of a target where fewer of its cases did. What is given is written down first.
        """
        path = self.folder / FILE_NAME
        earlier = records.read(ScoredSets, path).sets if path.is_file() else ()
        changed = self._too_few((old.cases, now.cases) for old in earlier)
        if changed:
            return Release(
                scores=SiteScores.empty(tuple(scores.targets)),
                warning=self._warning("held-out cases", changed),
            )
        withheld = {
            name: few
            for name, cases in now.targets.items()
            if (few := self._too_few((old.targets.get(name, cases), cases) for old in earlier))
        }
        given = {name: cases for name, cases in now.targets.items() if name not in withheld}
        now = dataclasses.replace(now, targets=given)
        if now not in earlier:
            records.write(ScoredSets(sets=(*earlier, now)), path)
        return Release(
            scores=_without(scores, withheld),
            warning="; ".join(
                self._warning(f"held-out cases with {name}", few) for name, few in withheld.items()
            ),
        )

    def _too_few(self, pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> int:
        """The smallest number of changed cases that is above 0 and too small; 0 without one."""
        numbers = [changed_cases(before, after) for before, after in pairs]
        return min((number for number in numbers if 0 < number < self.min_cases), default=0)

    def _warning(self, what: str, changed: int) -> str:
        return (
            f"{changed} {what} were added or removed since scores were given, fewer than the "
            f"{self.min_cases} that allow new ones: the scores stay at the site. The difference of "
            f"two sums can tell single cases; a person at the site deletes {FILE_NAME} in the "
            "site's working folder if the scores may leave anyway"
        )


def _without(scores: SiteScores, withheld: Mapping[str, int]) -> SiteScores:
    kept = {n: TargetSums() if n in withheld else sums for n, sums in scores.targets.items()}
    return dataclasses.replace(scores, targets=kept)


def _digest(case: Case) -> str:
    """SHA-256 of a case's name and of the file of its label map."""
    digest = hashlib.sha256(repr(case.name).encode())
    if case.label is not None:
        digest.update(case.label.read_bytes())
    return digest.hexdigest()
