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
from torch import nn

from fednnunet.dataset import list_images
from fednnunet.errors import DataError, InputError
from fednnunet.inference import predict
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.predict import PredictOptions, mask_path, predict_cases, predict_volume
from fednnunet.planning.plan import Plan
from fednnunet.volume import Geometry, Volume

NewPlan = Callable[..., Plan]
NewBundle = Callable[..., Bundle]

_C, _S = float(np.cos(0.3)), float(np.sin(0.3))
DIRECTIONS = {
    "straight": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    "flipped": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0),
    "oblique": (_C, -_S, 0.0, _S, _C, 0.0, 0.0, 0.0, 1.0),
    "sagittal": (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
}
SHAPE = (12, 18, 15)
SPACING = (2.0, 0.9, 1.1)


class Threshold(nn.Module):
    """Label 1 where the normalised image is bright, 2 where it is very bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :1]
        return torch.cat([torch.full_like(x, 0.5), x, 2 * x - 2], 1)


def _array() -> np.ndarray:
    """A body of 100, a bright box and a very bright one in it, off the middle; zeros about it."""
    array = np.zeros(SHAPE, np.float32)
    array[1:, 2:, :-1] = 100
    array[3:9, 4:11, 2:12] = 200
    array[4:8, 5:10, 3:10] = 400
    return array


def _truth() -> np.ndarray:
    return np.digitize(_array(), (150, 300)).astype(np.uint8)


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def _write(path: Path, direction: str = "straight") -> None:
    image = SimpleITK.GetImageFromArray(_array())
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((-31.5, 12.25, 100.0))
    image.SetDirection(DIRECTIONS[direction])
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


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


@pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_a_volume_comes_back_in_place(
    new_plan: NewPlan,
    compute: Compute,
    transpose: tuple[int, int, int],
    patch: tuple[int, ...],
) -> None:
    spacing = tuple((2.0, 1.0, 1.0)[axis] for axis in transpose)
    plan = new_plan(patch=patch, spacing=spacing, transpose=transpose)
    volume = Volume(array=_array()[None], geometry=Geometry(spacing_mm=SPACING))
    mask = predict_volume(
        [Threshold()], plan, plan.configurations[0], volume, compute=compute, mirror=True
    )
    assert mask.shape == SHAPE
    assert _dice(mask > 0, _truth() > 0) > 0.9
    assert _dice(mask == 2, _truth() == 2) > 0.85


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_the_mask_lies_on_the_grid_of_its_image(
    tmp_path: Path, bundle: Bundle, compute: Compute, ending: str, direction: str
) -> None:
    _write(tmp_path / "in" / f"a_0000{ending}", direction)
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
    assert _dice(SimpleITK.GetArrayFromImage(mask) > 0, _truth() > 0) > 0.9
    if ending == ".nii.gz":
        ours, theirs = nibabel.load(path), nibabel.load(tmp_path / "in" / "a_0000.nii.gz")
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
        assert ours.get_data_dtype() == np.uint8
        assert ours.shape == theirs.shape


def test_a_sheared_affine_is_kept(tmp_path: Path, bundle: Bundle, compute: Compute) -> None:
    affine = np.array([[1.1, 0.2, 0, -5], [0, 0.9, 0.1, 7], [0, 0, 2.0, 3], [0, 0, 0, 1]])
    (tmp_path / "in").mkdir()
    image = nibabel.Nifti1Image(_array().transpose(2, 1, 0), affine)
    nibabel.save(image, tmp_path / "in" / "a_0000.nii.gz")
    predict_cases(bundle, list_images(tmp_path / "in", 1), tmp_path / "out", compute=compute)
    mask = nibabel.load(tmp_path / "out" / "a.nii.gz")
    np.testing.assert_allclose(mask.affine, affine, atol=1e-5)
    assert _dice(np.asarray(mask.dataobj).transpose(2, 1, 0) > 0, _truth() > 0) > 0.9


def test_what_is_there_is_kept_until_something_changes(
    tmp_path: Path, bundle: Bundle, compute: Compute
) -> None:
    for name in "ab":
        _write(tmp_path / "in" / f"{name}_0000.nii.gz")
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
    _write(tmp_path / "in" / "b_0000.nii.gz", "flipped")
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
        _write(tmp_path / "in" / f"{name}_0000.nii.gz")
    broken = tmp_path / "in" / "b_0000.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-40])
    array = _array()
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
        _write(tmp_path / "in" / f"{name}_0000.nii.gz")
    cases = list_images(tmp_path / "in", 1)
    outcome = predict_cases(bundle, cases, tmp_path / "out", compute=compute)
    assert outcome.written == ("b",)
    (fault,) = outcome.faults
    assert isinstance(fault, DataError) and fault.where == "case a"
    assert "--device cpu" in fault.mend


def test_routing_that_does_not_fit_is_an_error_of_its_case(
    bundle: Bundle, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = predict._Model(bundle, compute)
    model._experts = object()
    monkeypatch.setattr(predict, "route", full)
    with pytest.raises(DataError, match="does not hold"):
        model.route(_array()[None])


def test_several_networks_vote_by_mean_logits(new_plan: NewPlan, compute: Compute) -> None:
    class Constant(nn.Module):
        def __init__(self, *logits: float) -> None:
            super().__init__()
            self.logits = torch.tensor(logits).reshape(1, 3, 1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(x), 3, *x.shape[2:])

    plan = new_plan()
    volume = Volume(array=_array()[None], geometry=Geometry(spacing_mm=SPACING))
    members = [Constant(0.0, 1.0, 0.9), Constant(0.0, -1.0, 0.9)]
    mask = predict_volume(members, plan, plan.configurations[0], volume, compute=compute)
    assert (mask[1:, 2:, :-1] == 2).all()


def test_bundles_of_other_plans_do_not_vote(
    tmp_path: Path, bundle: Bundle, new_plan: NewPlan, new_bundle: NewBundle, compute: Compute
) -> None:
    other = new_bundle(tmp_path / "other", new_plan(patch=(8, 8, 16)))
    with pytest.raises(InputError, match="different plans"):
        predict_cases([bundle, other], (), tmp_path / "out", compute=compute)
