"""Masks of arrays are those of the command; what is no image is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fednnunet
from fednnunet import io
from fednnunet.commands import predict as predict_command
from fednnunet.errors import InputError


def test_the_predictor_gives_the_mask_of_the_command(run: Path, tmp_path: Path) -> None:
    images = run.parent / "hospitals" / "north" / "imagesTr"
    argv = [str(run / "global"), "-i", str(images), "-o", str(tmp_path), "--device", "cpu"]
    assert predict_command.main(argv) == 0
    volume = io.read_volume([images / "case_0_0000.nii.gz"])
    predictor = fednnunet.Predictor(fednnunet.load_bundle(run / "global"), device="cpu")
    mask = predictor(volume.array, spacing_mm=volume.spacing_mm)
    written = io.read_label(tmp_path / "case_0.nii.gz").array[0]
    assert np.array_equal(mask, written)
    assert np.array_equal(predictor(volume.array[0], spacing_mm=volume.spacing_mm), written)
    assert predictor.labels == ("background", "ball", "core")


def test_an_ensemble_of_one_bundle_twice_is_that_bundle(run: Path) -> None:
    image = np.random.default_rng(0).normal(size=(14, 13, 15)).astype(np.float32)
    one = fednnunet.Predictor(run / "global", device="cpu")(image, spacing_mm=(1, 1, 1))
    folders = [run / "global", run / "global"]
    two = fednnunet.Predictor(folders, device="cpu")(image, spacing_mm=(1, 1, 1))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("shape", "spacing", "what"),
    [
        ((4, 4), (1, 1, 1), "the image has shape"),
        ((4, 4, 4), (1, 1), "spacing_mm is"),
        ((4, 4, 4), (1, 0, 1), "spacing_mm is"),
        ((2, 4, 4, 4), (1, 1, 1), "channel"),
    ],
)
def test_arrays_that_are_no_image_are_refused(
    run: Path, shape: tuple[int, ...], spacing: tuple[float, ...], what: str
) -> None:
    predictor = fednnunet.Predictor(run / "global", device="cpu")
    with pytest.raises(InputError, match=what):
        predictor(np.zeros(shape, np.float32), spacing_mm=spacing)


def test_masks_that_are_there_are_kept_unless_they_are_to_be_replaced(
    run: Path, tmp_path: Path
) -> None:
    images, out = run.parent / "hospitals" / "south" / "imagesTr", tmp_path / "masks"
    first = fednnunet.predict(run / "global", images, out, device="cpu")
    assert len(first.written) == 5 and not first.faults
    (out / "case_1.nii.gz").unlink()
    again = fednnunet.predict(run / "global", images, out, device="cpu")
    assert again.written == ("case_1",)
    whole = fednnunet.predict(run / "global", images, out, device="cpu", overwrite=True)
    assert len(whole.written) == 5
