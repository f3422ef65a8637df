"""Predict masks: of a folder of images, or of arrays with their spacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle, read_bundle
from fednnunet.inference.compute import choose_compute
from fednnunet.inference.ensemble import VolumePredictor, Vote, check_bundles
from fednnunet.inference.inputs import is_dicom, list_inputs
from fednnunet.inference.predict import Outcome, PredictOptions, predict_cases
from fednnunet.volume import Geometry, Volume

__all__ = ["PredictOptions", "Predictor", "load_bundle", "predict"]

Bundles = Bundle | Path | str | Sequence[Bundle | Path | str]


def load_bundle(folder: Path | str) -> Bundle:
    """The plan and the weights in a bundle folder, such as `RUN/global`."""
    return read_bundle(Path(folder))


def load_bundles(bundles: Bundles) -> tuple[Bundle, ...]:
    """One bundle or several; those that are given as folders are read."""
    given = (bundles,) if isinstance(bundles, (Bundle, Path, str)) else tuple(bundles)
    return tuple(each if isinstance(each, Bundle) else load_bundle(each) for each in given)


def predict(
    bundles: Bundles,
    images: Path | str,
    output: Path | str,
    *,
    device: str = "auto",
    mirror: bool = False,
    overwrite: bool = False,
    options: PredictOptions | None = None,
    progress: PredictProgress | None = None,
) -> Outcome:
    """Write a mask to `output` for every case of `images`.

    `images` is a folder (case_0000.nii.gz, ...), one image, or a folder with DICOM series, for
    several channels by `predict_dicom`. Several bundles form an ensemble. With `mirror` the logits
    of all flips are averaged. Masks that are there already are kept unless
    `overwrite`. All else is in `options`. Cases that cannot be predicted are in the outcome's
    `faults`; the others are predicted. Example:

        predict("RUN/global", "IMAGES", "MASKS", options=PredictOptions(memory_gib=8))
    """
    loaded = load_bundles(bundles)
    options = options or PredictOptions()
    options = replace(
        options, mirror=mirror or options.mirror, overwrite=overwrite or options.overwrite
    )
    compute = choose_compute(device)
    check_bundles(loaded, options.mirror)
    if is_dicom(Path(images)):
        from fednnunet.api.predict_dicom import predict_dicom

        return predict_dicom(
            loaded, images, output, forms=(), device=device, options=options, progress=progress
        )
    return predict_cases(
        loaded,
        list_inputs(Path(images), len(loaded[0].plan.task.channels)),
        Path(output),
        compute=compute,
        options=options,
        progress=progress.cases if progress else None,
        tiles=progress.tiles if progress else None,
    )


class PredictProgress(Protocol):
    """Is told how far a prediction is."""

    def cases(self, done: int, total: int, what: str) -> None:
        """So many cases are done; `what` is the present one."""

    def tiles(self, done: int, total: int, what: str) -> None:
        """So many tiles of the present case are done."""


class Predictor:
    """Predicts volumes in memory, with a bundle or an ensemble of several.

    The networks are loaded once. Example:

        predictor = Predictor("run/global")
        mask = predictor(image, spacing_mm=(3.0, 0.8, 0.8))
    """

    def __init__(self, bundles: Bundles, *, device: str = "auto", mirror: bool = False) -> None:
        self._predictor = VolumePredictor(
            load_bundles(bundles), compute=choose_compute(device), vote=Vote(mirror=mirror)
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
