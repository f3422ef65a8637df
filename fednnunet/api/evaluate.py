"""Score predicted masks against references."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.evaluation.evaluated import Evaluation
from fednnunet.evaluation.folders import (
    Pair,
    pair_cases,
    read_patients,
    read_task,
    score_pairs,
)
from fednnunet.evaluation.image_level import presence_of_targets
from fednnunet.evaluation.metrics import CaseScores, MetricSettings
from fednnunet.label_tables import Presence, add_presence
from fednnunet.task import Task
from fednnunet.text import choices

SiteProgress = Callable[[str, int, int, str], None]


def evaluate(
    predictions: Path | str,
    references: Path | str,
    *,
    sites: Mapping[str, Path] | None = None,
    task: Task | Path | None = None,
    presence: Path | None = None,
    settings: MetricSettings | None = None,
    partial: bool = False,
    progress: SiteProgress | None = None,
) -> Evaluation:
    """Overlap and surface metrics of each mask in `predictions`, for each label.

    `sites` names the folder of each site's references in `references`; its predictions are in
    `predictions/NAME` if there is such a folder, else in `predictions`. `task`, or a dataset.json,
    plan.json or federation file, names the labels; by default the dataset.json in `references` or
    its parent; that file's `groups` name the patient of each case. `presence` is a table (CSV or
    JSON, see docs/labels.md) of the classes that cases have, for the scores per image. References
    without a prediction are a fault unless `partial`.
    """
    predictions, references = Path(predictions), Path(references)
    folders = _folders(predictions, references, sites or {})
    pairs = _pairs(folders, partial=partial)
    known = task if isinstance(task, Task) else _task(task, [own for _, own in folders.values()])
    settings = settings or MetricSettings()
    _check_targets(settings, known)
    return Evaluation(
        task=known,
        settings=settings,
        pairs=pairs,
        presence=_presence(presence, known) if presence else {},
        cases=_score(pairs, known, settings, progress),
        patients={name: _patients(own) for name, (_, own) in folders.items()},
    )


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
    pairs: Mapping[str, tuple[Pair, ...]],
    task: Task,
    settings: MetricSettings,
    progress: SiteProgress | None,
) -> dict[str, tuple[CaseScores, ...]]:
    scores: dict[str, tuple[CaseScores, ...]] = {}
    faults: list[FedNNUNetError] = []
    for name, own in pairs.items():

        def show(done: int, total: int, what: str, site: str = name) -> None:
            if progress:
                progress(site, done, total, what)

        try:
            scores[name] = score_pairs(own, task, settings=settings, progress=show)
        except FedNNUNetError as fault:
            faults.append(fault)
        show(len(own), len(own), "done")
    raise_all("some masks cannot be scored", faults)
    return scores


def _check_targets(settings: MetricSettings, task: Task) -> None:
    """Raise InputError for tolerances of targets that the task does not have."""
    for name in settings.tolerances_mm:
        if name not in task.targets:
            raise InputError(
                f"a tolerance is given for {name!r}, which is no target",
                mend=choices(name, task.targets),
            )


def _presence(path: Path, task: Task) -> dict[str, dict[str, bool]]:
    """Of each case in a table of presence, which targets it has."""
    found: dict[str, Presence] = {}
    values = {name: value for value, name in enumerate(task.labels) if value}
    raise_all(f"{path.name} cannot be used", add_presence(found, path, values, ""))
    return {
        case: presence_of_targets(
            task, {**dict.fromkeys(own.present, True), **dict.fromkeys(own.absent, False)}
        )
        for case, own in found.items()
    }


def _header(references: Path) -> Path | None:
    """The dataset.json in a folder of references or its parent."""
    places = (folder / "dataset.json" for folder in (references, references.parent))
    return next((path for path in places if path.is_file()), None)


def _patients(references: Path) -> dict[str, str]:
    header = _header(references)
    return read_patients(header) if header else {}


def _task(given: Path | None, references: list[Path]) -> Task:
    if given is not None:
        return _read_any_task(given)
    for folder in references:
        if header := _header(folder):
            return read_task(header)
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
