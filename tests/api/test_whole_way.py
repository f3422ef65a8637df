"""The example for Python programs runs, and the verbs give what the commands give."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fednnunet
from fednnunet import io
from fednnunet.commands import predict as predict_command
from fednnunet.errors import InputError
from tests.end_to_end.tiny import make_federation, shrink

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, made by the example with a network of two stages."""
    root = tmp_path_factory.mktemp("api")
    federation, run = make_federation(root / "hospitals"), root / "run"
    spec = importlib.util.spec_from_file_location("whole_way", ROOT / "examples" / "whole_way.py")
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    whole = fednnunet.plan

    def small(*given: object, **named: object) -> object:
        plan = whole(*given, **named)
        shrink(run / "plan.json")
        return plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fednnunet, "plan", small)
        assert 0 <= example.main(federation, run) <= 1
    return run


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


def test_training_again_gives_the_same_scores(run: Path) -> None:
    first = fednnunet.train(run, device="cpu")
    assert first == fednnunet.train(run)
    assert first.labels[0] == "global"
