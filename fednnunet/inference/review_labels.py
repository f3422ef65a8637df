"""Review a site's label maps: predict its cases, and rank them by how a model contradicts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fednnunet import io, records
from fednnunet.dataset import Case
from fednnunet.errors import InputError
from fednnunet.evaluation.label_faults import SURE, LabelFaults, Maps, corrected, find_faults
from fednnunet.evaluation.label_review import LabelReview, by_disagreement, write_label_review
from fednnunet.evaluation.pictures import draw_review
from fednnunet.files import replacing, sha256_of
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.export import Predicted
from fednnunet.inference.predict import Outcome, PredictOptions, predict_cases
from fednnunet.inference.reviewed import ReviewFiles, check_digests, finished, write_digests
from fednnunet.preprocess.load import load_case
from fednnunet.progress import Progress
from fednnunet.task import Task

CORRECTED_MAPS = "corrected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A review, and what became of the prediction of each case."""

    review: LabelReview
    outcome: Outcome


def review_labels(
    bundles: Sequence[Bundle],
    cases: Sequence[Case],
    folder: Path,
    *,
    compute: Compute,
    sure: float = SURE,
    mirror: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Reviewed:
    """Write the review of the label maps of `cases` into `folder`, and return it.

    There are the model's masks, corrected label maps in `corrected` (the model's label where its
    entropy is at most `sure`; see `label_faults`), pictures and figures of each case in `review`,
    and `review.html`, `review.csv` and `review.json`. Only full and partial maps are reviewed. What
    is there already from the same bundles, images and label maps is kept, unless `overwrite`.
    Raises InputError for other bundles than those of the masks in the folder, and where no case can
    be reviewed.
    """
    digests = check_digests(bundles, folder, overwrite=overwrite)
    task = bundles[0].plan.task
    complete = [case for case in cases if case.label is not None and case.labels.can_score]
    if not complete:
        raise InputError(
            "no case has a complete label map, so there is nothing to review",
            mend="give a site's folder with full or partial label maps",
        )
    files = _CaseFiles(folder, task, sure)
    write_digests(digests, folder)
    outcome = predict_cases(
        bundles,
        complete,
        folder,
        compute=compute,
        options=PredictOptions(mirror=mirror, overwrite=overwrite),
        extra=files,
        progress=progress,
    )
    shown = finished(complete, outcome)
    found = [records.read(LabelFaults, files.figures_path(case)) for case in shown]
    review = LabelReview(
        source=digests.source,
        cases=by_disagreement(found),
        not_reviewed=tuple(sorted({case.name for case in cases} - {case.name for case in shown})),
    )
    write_label_review(folder, review, files.pictures(shown), task)
    return Reviewed(review=review, outcome=outcome)


class _CaseFiles(ReviewFiles):
    """With a corrected label map, all made from the label map that the case has now."""

    maps = CORRECTED_MAPS

    def __init__(self, folder: Path, task: Task, sure: float) -> None:
        super().__init__(folder, task)
        self._sure = sure

    def map_path(self, case: Case) -> Path:
        """In the image's format."""
        return self._folder / self.maps / f"{case.name}{io.ending(case.images[0])}"

    def there(self, case: Case) -> bool:
        """Whether a case has all of them, made from the label map that it has now."""
        if not super().there(case):
            return False
        figures = records.read(LabelFaults, self.figures_path(case))
        return figures.label_sha256 == _digest(case)

    def write(self, case: Case, predicted: Predicted) -> None:
        """Write the corrected map, the picture, and at last the figures."""
        assert predicted.entropy is not None
        image, labels = load_case(case, self._task)
        assert labels is not None
        maps = Maps(
            labels=labels,
            predicted=predicted.mask,
            entropy=predicted.entropy,
            spacing_mm=image.spacing_mm,
        )
        kind, path = case.labels.supervision, self.map_path(case)
        better = corrected(maps, kind, self._task, sure=self._sure)
        io.write_mask(better, image.geometry, path, like=case.label)
        with replacing(self.picture_path(case)) as temporary:
            temporary.write_bytes(
                draw_review(image, labels.clip(0), predicted.mask, better.clip(0), self._task)
            )
        figures = find_faults(case.name, maps, kind, self._task)
        place = str(path.relative_to(self._folder))
        records.write(
            replace(figures, label_sha256=_digest(case), corrected=place), self.figures_path(case)
        )


def _digest(case: Case) -> str:
    assert case.label is not None
    return sha256_of(case.label).hex()
