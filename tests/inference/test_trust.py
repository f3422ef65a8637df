"""An image or a mask unlike all of the training is told, and with `strict` refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fednnunet import io
from fednnunet.dataset import list_images
from fednnunet.inference.predict import PredictOptions, predict_cases
from fednnunet.inference.predicted import RECORD
from fednnunet.inference.trust import image_doubts, mask_doubts
from fednnunet.planning.plan import Intensity
from fednnunet.planning.seen import Seen
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume
from tests.inference.conftest import make_plan

SEEN = Seen(
    spacing_mm=((2.0, 3.0), (0.9, 1.1), (0.9, 1.1)),
    size_mm=((20.0, 40.0), (10.0, 20.0), (10.0, 20.0)),
    foreground_ml={"organ": (0.5, 2.0), "nodule": (0.1, 0.2)},
    always=("organ",),
    orientations=("LPS",),
)
KNOWN = Intensity(mean=50, median=50, std=9, min=0, max=99, percentile_00_5=10, percentile_99_5=90)


def a_plan(**changes):
    return dataclasses.replace(
        make_plan(), **({"seen": SEEN, "intensity": (KNOWN,), "orientation": "LPS"} | changes)
    )


def a_volume(*, spacing=(2.5, 1.0, 1.0), shape=(12, 15, 14), scale=1.0, **geometry):
    array = np.random.default_rng(0).uniform(20, 80, (1, *shape)).astype(np.float32) * scale
    return Volume(array=array, geometry=Geometry(spacing_mm=spacing, **geometry))


def test_an_image_like_those_of_the_training_raises_no_doubt():
    assert image_doubts(a_volume(), a_plan()) == ()
    assert image_doubts(a_volume(spacing=(20.0, 9.0, 9.0)), a_plan(seen=None)) == ()


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (a_volume(spacing=(7.5, 1.0, 1.0), shape=(4, 15, 14)), "spacing 7.5 x 1 x 1 mm"),
        (a_volume(shape=(50, 15, 14)), "size 125 x 15 x 14 mm, in training 20 to 40 x"),
        (a_volume(scale=1000.0), "0.0% of the voxels of channel MRI"),
        (a_volume(scale=0.0), "the same value 0 everywhere"),
        (
            a_volume(direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)),
            "stored as RAS, training images as LPS",
        ),
    ],
)
def test_an_image_unlike_those_of_the_training_is_told(volume, words):
    assert words in "; ".join(image_doubts(volume, a_plan()))


def test_axes_are_compared_as_turned():
    """An image with its thick slices along x is like the others, once it is turned."""
    sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0)  # x up, y to the left, z to the front
    volume = a_volume(spacing=(1.0, 1.0, 2.5), shape=(15, 14, 12), direction=sagittal)
    doubts = image_doubts(volume, a_plan(seen=dataclasses.replace(SEEN, orientations=())))
    assert doubts == ()


def test_a_foreground_beyond_the_training_is_told():
    mask = np.zeros((10, 10, 10), np.uint8)
    assert "nothing of organ" in mask_doubts(mask, 0.001, a_plan())[0]
    mask[:, :, :8] = 1
    assert mask_doubts(mask, 0.001, a_plan()) == ()  # 0.8 ml, and no nodule, which some lack
    mask[:, :, 8:] = 2
    assert mask_doubts(mask, 0.01, a_plan()) == (
        "8 ml of organ, in training 0.5 to 2 ml",
        "2 ml of nodule, in training 0.1 to 0.2 ml",
    )


TUMOUR = Task(
    name="t",
    channels=("MRI",),
    labels=("background", "oedema", "necrosis", "enhancing"),
    regions={"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)},
)
OF_LABELS = dataclasses.replace(
    SEEN,
    foreground_ml={"oedema": (1.0, 4.0), "necrosis": (0.5, 1.0), "enhancing": (0.25, 0.5)},
    always=("oedema", "necrosis"),
)


def region_doubts(*voxels, task=TUMOUR, seen=OF_LABELS):
    """Of a mask with so many voxels of 0.1 ml of each label."""
    mask = np.repeat(np.arange(4, dtype=np.uint8), [20, *voxels])[:, None, None]
    plan = dataclasses.replace(make_plan(task=task), seen=seen)
    return mask_doubts(mask, 0.1, plan)


def test_nested_regions_are_compared_with_what_their_labels_have_together():
    assert region_doubts(20, 7, 3) == ()
    assert region_doubts(130, 7, 3) == ("14 ml of whole, in training 1.5 to 5.5 ml",)
    assert region_doubts(20, 40, 0) == ("4 ml of core, in training 0.5 to 1.5 ml",)
    assert region_doubts(20, 0, 0) == ("nothing of core, which every training case has",)


def test_a_region_of_labels_whose_volumes_are_not_known_is_left_out():
    seen = dataclasses.replace(OF_LABELS, foreground_ml={"enhancing": (0.25, 0.5)}, always=())
    assert region_doubts(900, 900, 20, seen=seen) == (
        "2 ml of enhancing, in training 0.25 to 0.5 ml",
    )


def test_a_region_that_a_later_one_overwrites_is_left_out():
    """Its voxels are written with values of the later region, so that the mask does not show it."""
    other = dataclasses.replace(TUMOUR, regions={"one": (1, 2), "two": (2, 3)})
    assert region_doubts(900, 20, 0, task=other) == ()
    assert region_doubts(900, 40, 0, task=other) == ("4 ml of two, in training 0.5 to 1.5 ml",)


@pytest.fixture
def images(tmp_path):
    for name, volume in (("far", a_volume(scale=1000.0)), ("usual", a_volume())):
        io.write_volume(volume, tmp_path / "in" / f"{name}_0000.nii.gz")
    return list_images(tmp_path / "in", 1)


def test_warnings_are_kept_with_the_masks(images, new_bundle, compute, tmp_path):
    plan = a_plan(seen=dataclasses.replace(SEEN, foreground_ml={}, always=()))
    bundle, out = new_bundle(tmp_path / "bundle", plan), tmp_path / "out"
    for _ in range(2):  # the second time the masks are kept, and so are the warnings
        outcome = predict_cases(bundle, images, out, compute=compute)
        assert list(outcome.warnings) == ["far"]
        assert json.loads((out / RECORD).read_text())["warnings"] == outcome.warnings
    strict = predict_cases(
        bundle, images, out, compute=compute, options=PredictOptions(strict=True)
    )
    assert strict.kept == ("usual",)
    assert "should not be trusted" in str(strict.faults[0])


def test_strict_writes_no_mask_of_what_is_not_to_be_trusted(images, new_bundle, compute, tmp_path):
    plan = a_plan(seen=dataclasses.replace(SEEN, foreground_ml={}, always=()))
    bundle, out = new_bundle(tmp_path / "bundle", plan), tmp_path / "out"
    outcome = predict_cases(
        bundle, images, out, compute=compute, options=PredictOptions(strict=True)
    )
    assert outcome.written == ("usual",)
    assert "far_0000.nii.gz" in str(outcome.faults[0])
    assert not (out / "far.nii.gz").exists()
