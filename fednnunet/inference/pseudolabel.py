"""Pseudo-labels of a folder: masks, uncertainty maps, and a page on which a reader accepts them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fednnunet import io, records
from fednnunet.dataset import Case
from fednnunet.evaluation.metrics import target_values
from fednnunet.evaluation.pictures import draw_planes
from fednnunet.evaluation.review import ReviewCase, write_review
from fednnunet.files import replacing
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.export import Predicted
from fednnunet.inference.predict import Outcome, PredictOptions, predict_cases
from fednnunet.inference.reviewed import ReviewFiles, check_digests, finished, write_digests
from fednnunet.inference.uncertainty import unsure_share
from fednnunet.progress import Progress
from fednnunet.volume import Volume

UNCERTAINTY, PAGE = "uncertainty", "review.html"


def pseudolabel_cases(
    bundles: Sequence[Bundle],
    cases: Sequence[Case],
    folder: Path,
    *,
    compute: Compute,
    mirror: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Write a mask, an uncertainty map, a picture and figures for every case, and the page.

    Masks are in `folder`, uncertainty maps (NIfTI, float32, see `uncertainty.Entropy`) in its
    `uncertainty`, pictures and figures in `review`, the page is `review.html`. What is there
    already from the same bundles and images is kept, unless `overwrite`. A case that cannot be
    predicted gives a fault, and is not on the page. Raises InputError for another bundle than that
    of the masks in the folder.
    """
    digests = check_digests(bundles, folder, overwrite=overwrite)
    task = bundles[0].plan.task
    review = _ReviewFiles(folder, task)
    write_digests(digests, folder)
    outcome = predict_cases(
        bundles,
        cases,
        folder,
        compute=compute,
        options=PredictOptions(mirror=mirror, overwrite=overwrite),
        extra=review,
        progress=progress,
    )
    shown = finished(cases, outcome)
    write_review(
        folder / PAGE,
        [records.read(ReviewCase, review.figures_path(case)) for case in shown],
        review.pictures(shown),
        task=task.name,
        source=digests.source,
    )
    return outcome


class _ReviewFiles(ReviewFiles):
    """With an uncertainty map."""

    maps = UNCERTAINTY

    def write(self, case: Case, predicted: Predicted) -> None:
        """Write the uncertainty map, the picture, and at last the figures."""
        placement, mask, entropy = predicted.placement, predicted.mask, predicted.entropy
        assert entropy is not None
        volume = Volume(array=entropy[None], geometry=placement.geometry)
        io.write_volume(volume, self.map_path(case))
        image = io.read_volume(case.images)
        with replacing(self.picture_path(case)) as temporary:
            temporary.write_bytes(draw_planes(image, mask, entropy, self._task))
        share = unsure_share(entropy, mask)
        voxel_ml = math.prod(placement.geometry.spacing_mm) / 1000
        figures = ReviewCase(
            case=case.name,
            unsure_share=None if math.isinf(share) else share,
            volumes_ml={
                name: float(np.isin(mask, values).sum()) * voxel_ml
                for name, values in target_values(self._task).items()
            },
        )
        records.write(figures, self.figures_path(case))
