"""Scores of a model on a site's held-out cases; masks and scores per case stay at the site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fednnunet.dataset import Case
from fednnunet.errors import DataError, raise_all
from fednnunet.evaluation.metrics import CaseScores, score_mask
from fednnunet.evaluation.scores import SiteScores
from fednnunet.evaluation.tables import write_cases_csv
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import choose_compute
from fednnunet.inference.predict import mask_path, predict_cases
from fednnunet.io import read_label
from fednnunet.task import Task


def evaluate_at_site(
    bundle: Bundle,
    cases: Sequence[Case],
    folder: Path,
    *,
    device: str,
    progress: Callable[[int, int, str], None] | None = None,
) -> SiteScores:
    """Predict the cases into `folder`, score them, and return the sums over them.

    Masks that stand already, made from the same bundle and images, are kept.
    """
    task = bundle.plan.task
    outcome = predict_cases(
        bundle, cases, folder, compute=choose_compute(device), progress=progress
    )
    raise_all("held-out cases could not be predicted", outcome.faults)
    scores = [_score(case, folder, task) for case in cases]
    write_cases_csv(folder / "scores.csv", {"": scores})
    return SiteScores.of(task.targets, scores)


def _score(case: Case, folder: Path, task: Task) -> CaseScores:
    if case.label is None:
        raise DataError(f"case {case.name} has no label", mend="held-out cases need labels")
    reference = read_label(case.label)
    predicted = read_label(mask_path(folder, case))
    return score_mask(
        predicted.array[0], reference.array[0], reference.spacing_mm, task, case=case.name
    )
