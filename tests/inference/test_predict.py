"""Masks on the grid of their input, whatever its format and direction; whole folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from fednnunet.dataset import list_images
from fednnunet.errors import DataError, InputError
from fednnunet.evaluation.postprocess import Postprocessing, TargetRule
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.predict import PredictOptions, mask_path, predict_cases
from fednnunet.io import read_label
from fednnunet.planning.plan import Plan
from tests.inference.bodies import (
    DIRECTIONS,
    Threshold,
    body,
    dice,
    truth,
    write_body,
)

NewPlan = Callable[..., Plan]
NewBundle = Callable[..., Bundle]


@pytest.fixture
def bundle(
    tmp_path: Path,
    new_plan: NewPlan,
    new_bundle: NewBundle,
    monkeypatch: pytest.MonkeyPatch,
) -> Bundle:
    """A bundle whose network is a threshold."""
    plan = new_plan(spacing=(2.0, 1.0, 1.0), transpose=(0, 1, 2))
    monkeypatch.setattr(Bundle, "network", lambda self: Threshold())
    return new_bundle(tmp_path / "bundle", plan)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_the_mask_lies_on_the_grid_of_its_image(
    tmp_path: Path, bundle: Bundle, compute: Compute, ending: str, direction: str
) -> None:
    write_body(tmp_path / "in" / f"a_0000{ending}", direction)
    cases = list_images(tmp_path / "in", 1)
    outcome = predict_cases(bundle, cases, tmp_path / "out", compute=compute)
    assert outcome.written == ("a",)
    path = tmp_path / "out" / f"a{ending}"
    image = SimpleITK.ReadImage(str(tmp_path / "in" / f"a_0000{ending}"))
    mask = SimpleITK.ReadImage(str(path))
    assert mask.GetPixelID() == SimpleITK.sitkUInt8
    assert mask.GetSize() == image.GetSize()
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, get)(), getattr(image, get)(), atol=1e-5)
    assert dice(SimpleITK.GetArrayFromImage(mask) > 0, truth() > 0) > 0.9
    if ending == ".nii.gz":
        ours, theirs = nibabel.load(path), nibabel.load(tmp_path / "in" / "a_0000.nii.gz")
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
        assert ours.get_data_dtype() == np.uint8
        assert ours.shape == theirs.shape


def test_a_sheared_affine_is_kept(tmp_path: Path, bundle: Bundle, compute: Compute) -> None:
    affine = np.array([[1.1, 0.2, 0, -5], [0, 0.9, 0.1, 7], [0, 0, 2.0, 3], [0, 0, 0, 1]])
    (tmp_path / "in").mkdir()
    image = nibabel.Nifti1Image(body().transpose(2, 1, 0), affine)
    nibabel.save(image, tmp_path / "in" / "a_0000.nii.gz")
    predict_cases(bundle, list_images(tmp_path / "in", 1), tmp_path / "out", compute=compute)
    mask = nibabel.load(tmp_path / "out" / "a.nii.gz")
    np.testing.assert_allclose(mask.affine, affine, atol=1e-5)
    assert dice(np.asarray(mask.dataobj).transpose(2, 1, 0) > 0, truth() > 0) > 0.9


def test_what_is_there_is_kept_until_something_changes(
    tmp_path: Path, bundle: Bundle, compute: Compute
) -> None:
    for name in "ab":
        write_body(tmp_path / "in" / f"{name}_0000.nii.gz")
    cases, out = list_images(tmp_path / "in", 1), tmp_path / "out"

    def predict(**options: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        outcome = predict_cases(
            bundle, cases, out, compute=compute, options=PredictOptions(**options)
        )
        return outcome.written, outcome.kept

    assert predict() == (("a", "b"), ())
    before = os.stat(mask_path(out, cases[0])).st_mtime_ns
    assert predict() == ((), ("a", "b"))
    assert os.stat(mask_path(out, cases[0])).st_mtime_ns == before
    write_body(tmp_path / "in" / "b_0000.nii.gz", "flipped")
    assert predict() == (("b",), ("a",))
    mask_path(out, cases[0]).unlink()
    assert predict() == (("a",), ("b",))
    with pytest.raises(InputError, match="not trained on mirrored patches"):
        predict(mirror=True)
    assert predict() == ((), ("a", "b"))
    bundle = dataclasses.replace(bundle, mirrored=True)
    assert predict(mirror=True) == (("a", "b"), ())
    assert predict(mirror=True, overwrite=True) == (("a", "b"), ())


def test_a_broken_case_does_not_stop_the_others(
    tmp_path: Path, bundle: Bundle, compute: Compute
) -> None:
    for name in "abc":
        write_body(tmp_path / "in" / f"{name}_0000.nii.gz")
    broken = tmp_path / "in" / "b_0000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-40])
    array = body()
    array[3, 3, 3] = np.nan
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "in" / "c_0000.nii.gz"))
    cases = list_images(tmp_path / "in", 1)
    outcome = predict_cases(bundle, cases, tmp_path / "out", compute=compute)
    assert outcome.written == ("a",)
    texts = [str(fault) for fault in outcome.faults]
    assert len(texts) == 2
    assert "b_0000.nii.gz" in texts[0]
    assert "1 voxels are NaN" in texts[1]
    assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz"]


def test_a_case_that_does_not_fit_into_memory_does_not_stop_the_others(
    tmp_path: Path, bundle: Bundle, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Threshold):
        """The device is full while the first case is in the network."""

        passes = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.passes += 1
            if self.passes == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    monkeypatch.setattr(Bundle, "network", lambda self: Full())
    for name in "ab":
        write_body(tmp_path / "in" / f"{name}_0000.nii.gz")
    cases = list_images(tmp_path / "in", 1)
    outcome = predict_cases(bundle, cases, tmp_path / "out", compute=compute)
    assert outcome.written == ("b",)
    (fault,) = outcome.faults
    assert isinstance(fault, DataError) and fault.where == "case a"
    assert "--device cpu" in fault.mend


def test_unusual_volumes_are_predicted_or_refused_with_one_message_each(
    tmp_path: Path, bundle: Bundle, compute: Compute
) -> None:
    (tmp_path / "in").mkdir()
    arrays = {"slice": body()[4:5], "small": body()[:2, :3, :4], "empty": np.zeros((6, 6, 6))}
    arrays["time"] = np.stack([body(), body()], axis=-1)
    for name, array in arrays.items():
        image = nibabel.Nifti1Image(np.asarray(array, np.float32), np.diag([1, 1, 2, 1.0]))
        nibabel.save(image, tmp_path / "in" / f"{name}_0000.nii.gz")
    cases = list_images(tmp_path / "in", 1)
    outcome = predict_cases(bundle, cases, tmp_path / "out", compute=compute)
    assert set(outcome.written) == {"slice", "small", "empty"}
    (fault,) = outcome.faults
    assert "is not one 3D image" in fault.what
    for name in outcome.written:
        mask = nibabel.load(tmp_path / "out" / f"{name}.nii.gz")
        assert mask.shape == arrays[name].shape
    assert not list((tmp_path / "out").glob("*time*")) and not list(tmp_path.rglob(".tmp*"))


def test_a_mask_is_written_after_the_post_processing_of_its_bundle(
    tmp_path: Path, bundle: Bundle, compute: Compute
) -> None:
    write_body(tmp_path / "in" / "a_0000.nii.gz")
    cases = list_images(tmp_path / "in", 1)
    rule = Postprocessing(targets={"nodule": TargetRule(min_mm3=1e6)})
    for folder, member in (
        ("with", dataclasses.replace(bundle, postprocessing=rule)),
        ("without", bundle),
    ):
        predict_cases(member, cases, tmp_path / folder, compute=compute)
    found = {name: read_label(tmp_path / name / "a.nii.gz").array for name in ("with", "without")}
    assert (found["without"] == 2).any() and not (found["with"] == 2).any()
    assert np.array_equal(found["with"] == 1, found["without"] == 1)
