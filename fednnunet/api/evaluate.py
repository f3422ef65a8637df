"""Score predicted masks against references."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.evaluation.folders import Pair, pair_cases, read_task, score_pairs
from fednnunet.evaluation.metrics import CaseScores
from fednnunet.evaluation.scores import SiteScores
from fednnunet.task import Task

SiteProgress = Callable[[str, int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The scores of every case of every site."""

    task: Task
    """The names of the labels."""
    cases: dict[str, tuple[CaseScores, ...]]
    """The scores of the cases of each site; a folder without sites is one site, "all"."""

    @property
    def sums(self) -> dict[str, SiteScores]:
        """The scores of each site as sums, which give means and may leave a site."""
        return {site: SiteScores.of(self.task.targets, own) for site, own in self.cases.items()}

    def mean(self, metric: str = "dice") -> float:
        """The mean over sites of a metric's mean: dice, iou, hd95_mm or assd_mm."""
        means = [sums.mean(metric) for sums in self.sums.values() if sums.cases]
        return sum(means) / len(means)


def evaluate(
    predictions: Path | str,
    references: Path | str,
    *,
    sites: Mapping[str, Path] | None = None,
    task: Task | Path | None = None,
    partial: bool = False,
    progress: SiteProgress | None = None,
) -> Evaluation:
    """Dice, IoU, HD95 and ASSD of each mask in `predictions`, for each label.

    `sites` names the folder of each site's references in `references`; its predictions are in
    `predictions/NAME` if there is such a folder, else in `predictions`. `task`, or a dataset.json,
    plan.json or federation file, names the labels; by default the dataset.json in `references` or
    its parent. References without a prediction are a fault unless `partial`.
    """
    predictions, references = Path(predictions), Path(references)
    folders = _folders(predictions, references, sites or {})
    pairs = _pairs(folders, partial=partial)
    known = task if isinstance(task, Task) else _task(task, [own for _, own in folders.values()])
    return Evaluation(task=known, cases=_score(pairs, known, progress))


def _folders(
    predictions: Path, references: Path, sites: Mapping[str, Path]
) -> dict[str, tuple[Path, Path]]:
    """Folders of predictions and references of each site."""
    if not sites:
        return {"all": (predictions, references)}
    return {
        name: (
            predictions / name if (predictions / name).is_dir() else predictions,
            references / folder,
        )
        for name, folder in sites.items()
    }


def _pairs(
    folders: Mapping[str, tuple[Path, Path]], *, partial: bool
) -> dict[str, tuple[Pair, ...]]:
    pairs: dict[str, tuple[Pair, ...]] = {}
    faults: list[FedNNUNetError] = []
    for name, (predictions, references) in folders.items():
        try:
            pairs[name] = pair_cases(predictions, references, partial=partial)
        except FedNNUNetError as fault:
            faults.append(fault)
    raise_all("the masks cannot be matched", faults)
    return pairs


def _score(
    pairs: Mapping[str, tuple[Pair, ...]], task: Task, progress: SiteProgress | None
) -> dict[str, tuple[CaseScores, ...]]:
    scores: dict[str, tuple[CaseScores, ...]] = {}
    faults: list[FedNNUNetError] = []
    for name, own in pairs.items():

        def show(done: int, total: int, what: str, site: str = name) -> None:
            if progress:
                progress(site, done, total, what)

        try:
            scores[name] = score_pairs(own, task, progress=show)
        except FedNNUNetError as fault:
            faults.append(fault)
        show(len(own), len(own), "done")
    raise_all("some masks cannot be scored", faults)
    return scores


def _task(given: Path | None, references: list[Path]) -> Task:
    if given is not None:
        return _read_any_task(given)
    for folder in references:
        for place in (folder, folder.parent):
            if (place / "dataset.json").is_file():
                return read_task(place / "dataset.json")
    raise InputError(
        "the names of the labels are not known",
        where=", ".join(str(folder) for folder in references),
        mend="put a dataset.json into the folder of references, or give one with --task",
    )


def _read_any_task(path: Path) -> Task:
    if path.suffix == ".toml":
        from fednnunet.federation.spec import read_federation

        return read_federation(path).task
    path = path / "plan.json" if path.is_dir() else path
    if path.name == "plan.json":
        from fednnunet.planning.plan import read_plan

        return read_plan(path).task
    return read_task(path)
