"""The scores of every case of every site, as files, tables and pages take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fednnunet.evaluation.folders import Pair
from fednnunet.evaluation.image_level import ImageLevel, image_level
from fednnunet.evaluation.metrics import CaseScores, MetricSettings
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.spread import Statistics, statistics_of
from fednnunet.task import Task

ALL = "all cases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The scores of every case of every site."""

    task: Task
    """The names of the labels."""
    cases: dict[str, tuple[CaseScores, ...]]
    """The scores of the cases of each site; a folder without sites is one site, "all"."""
    settings: MetricSettings = field(default_factory=MetricSettings)
    """How they were computed."""
    patients: dict[str, dict[str, str]] = field(default_factory=dict)
    """At each site the patient of a case, where a patient may have several."""
    pairs: dict[str, tuple[Pair, ...]] = field(default_factory=dict)
    """The two label maps of each case of each site."""
    presence: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Of each case with labels of presence, which targets it has."""

    @property
    def sums(self) -> dict[str, SiteScores]:
        """The scores of each site as sums, which give means and may leave a site."""
        return {site: SiteScores.of(self.task.targets, own) for site, own in self.cases.items()}

    @property
    def statistics(self) -> Statistics:
        """Means, medians, spread and intervals of each site and target."""
        return statistics_of(self.task.targets, self.cases, self.patients)

    @property
    def image_level(self) -> Mapping[str, Mapping[str, ImageLevel]]:
        """Scores per image of each site and, with several sites, of all cases; may be empty."""
        every = [case for site in sorted(self.cases) for case in self.cases[site]]
        parts = {site: self.cases[site] for site in sorted(self.cases)}
        if len(parts) > 1:
            parts[ALL] = tuple(every)
        found = {name: image_level(self.task, own, self.presence) for name, own in parts.items()}
        return {name: scores for name, scores in found.items() if scores}

    def mean(self, metric: str = "dice") -> float:
        """The mean over sites of a metric's mean: dice, iou, hd95_mm or assd_mm."""
        means = [sums.mean(metric) for sums in self.sums.values() if sums.cases]
        return sum(means) / len(means)
