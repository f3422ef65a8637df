"""Predict masks: of a folder of images, or of arrays with their spacing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fednnunet.dataset import list_images
from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle, read_bundle
from fednnunet.inference.compute import choose_compute
from fednnunet.inference.ensemble import VolumePredictor
from fednnunet.inference.predict import Outcome, PredictOptions, predict_cases
from fednnunet.progress import Progress
from fednnunet.volume import Geometry, Volume

Bundles = Bundle | Path | str | Sequence[Bundle | Path | str]


def load_bundle(folder: Path | str) -> Bundle:
    """The plan and the weights in a bundle folder, such as `RUN/global`."""
    return read_bundle(Path(folder))


def predict(
    bundles: Bundles,
    images: Path | str,
    output: Path | str,
    *,
    device: str = "auto",
    mirror: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Write a mask to `output` for every case of the folder `images` (case_0000.nii.gz, ...).

    Several bundles form an ensemble. With `mirror` the logits of all flips are averaged. Masks that
    are there already are kept unless `overwrite`. With `strict` a case that is unlike those of the
    training is refused instead of a warning. Cases that cannot be predicted are in the
    outcome's `faults`; the others are predicted.
    """
    loaded = _load(bundles)
    cases = list_images(Path(images), len(loaded[0].plan.task.channels) if loaded else 1)
    return predict_cases(
        loaded,
        cases,
        Path(output),
        compute=choose_compute(device),
        options=PredictOptions(mirror=mirror, overwrite=overwrite, strict=strict),
        progress=progress,
    )


class Predictor:
    """Predicts volumes in memory, with a bundle or an ensemble of several.

    The networks are loaded once. Example:

        predictor = Predictor("run/global")
        mask = predictor(image, spacing_mm=(3.0, 0.8, 0.8))
    """

    def __init__(self, bundles: Bundles, *, device: str = "auto", mirror: bool = False) -> None:
        self._predictor = VolumePredictor(
            _load(bundles), compute=choose_compute(device), mirror=mirror
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the values 0, 1, ... of a mask."""
        return self._predictor.plan.task.labels

    def __call__(self, image: np.ndarray, *, spacing_mm: Sequence[float]) -> np.ndarray:
        """The mask (z, y, x) of an image (z, y, x) or (c, z, y, x), on the image's own grid.

        `spacing_mm` is the size of a voxel along (z, y, x). Raises InputError for another number of
        axes or channels, and for values that are not finite.
        """
        array = np.asarray(image, dtype=np.float32)
        array = array[None] if array.ndim == 3 else array
        spacing = tuple(float(value) for value in spacing_mm)
        if array.ndim != 4 or not array.size:
            raise InputError(
                f"the image has shape {np.shape(image)}",
                mend="give an array (z, y, x), or (c, z, y, x) for several channels",
            )
        if len(spacing) != 3 or not all(0 < value < np.inf for value in spacing):
            raise InputError(
                f"spacing_mm is {spacing}", mend="give three lengths above 0, along z, y and x"
            )
        if not np.isfinite(array).all():
            raise InputError(
                "the image has voxels that are NaN or infinite", mend="replace these voxels"
            )
        z, y, x = spacing
        return self._predictor(Volume(array=array, geometry=Geometry(spacing_mm=(z, y, x))))


def _load(bundles: Bundles) -> tuple[Bundle, ...]:
    given = (bundles,) if isinstance(bundles, (Bundle, Path, str)) else tuple(bundles)
    return tuple(each if isinstance(each, Bundle) else load_bundle(each) for each in given)
