"""Pseudo-labels of a folder: masks, uncertainty maps, and a page on which a reader accepts them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fednnunet import io, records
from fednnunet.dataset import Case
from fednnunet.errors import InputError
from fednnunet.evaluation.metrics import target_values
from fednnunet.evaluation.pictures import draw_planes
from fednnunet.evaluation.review import ReviewCase, write_review
from fednnunet.files import replacing, storing
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.export import Predicted, Wanted
from fednnunet.inference.predict import Outcome, PredictOptions, predict_cases
from fednnunet.inference.uncertainty import unsure_share
from fednnunet.planning.plan import Plan
from fednnunet.progress import Progress
from fednnunet.volume import Volume

UNCERTAINTY, REVIEW, PAGE = "uncertainty", "review", "review.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """The bundles that pseudo-labels come from, by their digests."""

    bundles: tuple[str, ...]

    @property
    def source(self) -> str:
        """As `dataset.json` names it."""
        word = "bundle" if len(self.bundles) == 1 else "bundles"
        return f"{word} {', '.join(self.bundles)}"


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
    digests = Digests(bundles=tuple(bundle.digest for bundle in bundles))
    check_digests(folder, digests, overwrite=overwrite)
    plan = bundles[0].plan
    review = _ReviewFiles(folder, plan)
    folder.mkdir(parents=True, exist_ok=True)
    records.write(digests, folder / REVIEW / "bundles.json")
    outcome = predict_cases(
        bundles,
        cases,
        folder,
        compute=compute,
        options=PredictOptions(mirror=mirror, overwrite=overwrite),
        extra=review,
        progress=progress,
    )
    done = {*outcome.written, *outcome.kept}
    shown = [case for case in cases if case.name in done]
    write_review(
        folder / PAGE,
        [records.read(ReviewCase, review.figures_path(case)) for case in shown],
        {case.name: review.picture_path(case).read_bytes() for case in shown},
        task=plan.task.name,
        source=digests.source,
    )
    return outcome


def read_digests(folder: Path) -> Digests:
    """The bundles that the pseudo-labels in `folder` come from; raises InputError without any."""
    return records.read(Digests, folder / REVIEW / "bundles.json")


class _ReviewFiles:
    """What is written beside each mask."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._task = folder, plan.task

    def map_path(self, case: Case) -> Path:
        return self._folder / UNCERTAINTY / f"{case.name}.nii.gz"

    def picture_path(self, case: Case) -> Path:
        return self._folder / REVIEW / f"{case.name}.png"

    def figures_path(self, case: Case) -> Path:
        return self._folder / REVIEW / f"{case.name}.json"

    def there(self, case: Case) -> bool:
        """Whether a case has all of them."""
        paths = (self.map_path(case), self.picture_path(case), self.figures_path(case))
        return all(path.is_file() for path in paths)

    @property
    def wanted(self) -> Wanted:
        """The uncertainty map."""
        return Wanted(entropy=True)

    def clear(self, case: Case) -> None:
        """Remove all of them."""
        for path in (self.map_path(case), self.picture_path(case), self.figures_path(case)):
            with storing(path):
                path.unlink(missing_ok=True)

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


def check_digests(folder: Path, digests: Digests, *, overwrite: bool) -> None:
    """Raise InputError where `folder` holds what other bundles made, unless `overwrite`."""
    if overwrite or not (folder / REVIEW / "bundles.json").is_file():
        return
    if read_digests(folder) != digests:
        raise InputError(
            "the folder holds pseudo-labels of another bundle",
            where=str(folder),
            mend="choose another output folder, or give --overwrite",
        )
