"""Files beside the masks, on the right grids."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from fednnunet import io
from fednnunet.dataset import list_images
from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.extra_files import ExtraFiles, as_stored
from fednnunet.inference.predict import PredictOptions, predict_cases
from fednnunet.planning.plan import Plan
from fednnunet.preprocess.pipeline import prepare_volume
from fednnunet.volume import Geometry, Volume
from tests.inference.bodies import write_body
from tests.inference.conftest import make_plan


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_body(tmp_path / "in" / "a_0000.nii.gz", "oblique")
    return tmp_path / "in"


@pytest.mark.parametrize("kind", ["nifti", "npz"])
def test_everything_that_was_asked_for_is_written_and_kept(
    tmp_path: Path,
    images: Path,
    new_plan: Callable[..., Plan],
    new_bundle: Callable[..., Bundle],
    compute: Compute,
    kind: str,
) -> None:
    plan = new_plan()
    bundles = [new_bundle(tmp_path / str(seed), plan, seed=seed) for seed in range(2)]
    cases, out = list_images(images, 1), tmp_path / "out"
    extra = ExtraFiles(folder=out, probabilities=kind, uncertainty=True, spread=True, lowres=True)

    def predict() -> tuple[tuple[str, ...], tuple[str, ...]]:
        outcome = predict_cases(bundles, cases, out, compute=compute, extra=extra)
        assert not outcome.faults
        return outcome.written, outcome.kept

    assert predict() == (("a",), ())
    image, mask = io.read_volume([images / "a_0000.nii.gz"]), io.read_label(out / "a.nii.gz")
    for name in ("uncertainty", "spread"):
        found = io.read_raw(out / name / "a.nii.gz")
        assert not io.grid_difference(image, found)
        assert found.array.dtype == np.float32 and 0 < found.array.max() <= 1
    if kind == "npz":
        with np.load(out / "probabilities" / "a.npz") as content:
            p = content["probabilities"].astype(np.float32)
    else:
        volumes = io.read_4d(out / "probabilities" / "a.nii.gz")
        p = np.stack([v.array[0] for v in volumes])
        assert not io.grid_difference(image, volumes[0])
    inside = p.sum(axis=0) > 0.5
    np.testing.assert_allclose(p.sum(axis=0)[inside], 1, atol=2e-3)
    sure = inside & (np.sort(p, axis=0)[-1] - np.sort(p, axis=0)[-2] > 2e-3)
    assert np.array_equal(p.argmax(axis=0)[sure], mask.array[0][sure])
    assert predict() == ((), ("a",))
    next((out / "probabilities").iterdir()).unlink()
    assert predict() == (("a",), ())


def test_nothing_of_another_bundle_stays_beside_a_mask(
    tmp_path: Path,
    images: Path,
    new_plan: Callable[..., Plan],
    new_bundle: Callable[..., Bundle],
    compute: Compute,
) -> None:
    plan = new_plan()
    bundles = [new_bundle(tmp_path / str(seed), plan, seed=seed) for seed in range(2)]
    cases, out = list_images(images, 1), tmp_path / "out"
    probabilities = out / "probabilities" / "a.nii.gz"

    def predict(which: int, where: Path = out, **options: object) -> tuple[str, ...]:
        how = PredictOptions(**options)  # type: ignore[arg-type]
        return predict_cases(bundles[which], cases, where, compute=compute, options=how).written

    assert predict(0, probabilities="nifti", uncertainty=True, lowres=True) == ("a",)
    first = probabilities.read_bytes()
    assert predict(0, probabilities="npz") == ("a",)
    assert probabilities.read_bytes() == first  # still that of this bundle
    assert predict(1) == ("a",)
    assert not [path for path in out.rglob("a.*") if path.parent != out]
    assert predict(1, probabilities="nifti") == ("a",)
    predict(1, tmp_path / "fresh", probabilities="nifti")
    found, fresh = (
        io.read_4d(folder / "probabilities" / "a.nii.gz") for folder in (out, tmp_path / "fresh")
    )
    for one, other in zip(found, fresh, strict=True):
        np.testing.assert_array_equal(one.array, other.array)


@pytest.mark.parametrize("orientation", ["RAS", "PIR"])
@pytest.mark.parametrize("transpose", list(itertools.permutations(range(3))))
def test_a_map_at_low_resolution_lies_where_its_image_does(
    orientation: str, transpose: tuple[int, int, int]
) -> None:
    """The centre of mass of a soft ball, in mm, before and after."""
    grid = np.indices((24, 30, 26)).transpose(1, 2, 3, 0) * (2.0, 1.0, 1.5)
    ball = np.exp(-((grid - (22.0, 14.0, 15.0)) ** 2).sum(-1) / 40)
    array = np.zeros((1, 24, 30, 26), np.float32)
    array[0, 2:, 4:28, :22] = 1 + 9 * ball[2:, 4:28, :22]
    geometry = Geometry(
        spacing_mm=(2.0, 1.0, 1.5),
        origin_mm=(10.0, -20.0, 30.0),
        direction=(0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    )
    spacing = (4.0, 2.0, 3.0) if orientation == "RAS" else (2.0, 3.0, 4.0)
    plan = replace(make_plan(spacing=spacing, transpose=transpose), orientation=orientation)
    prepared = prepare_volume(Volume(array=array, geometry=geometry), plan, plan.configurations[0])
    data = prepared.data[0] - prepared.data[0].min()
    found, place = as_stored(data, prepared.placement)

    def centre(weight: np.ndarray, at: Geometry) -> np.ndarray:
        image = SimpleITK.Image([1, 1, 1], SimpleITK.sitkUInt8)
        image.SetSpacing(at.spacing_mm[::-1])
        image.SetOrigin(at.origin_mm)
        image.SetDirection(at.direction)
        weight = np.where(weight > 0.2 * weight.max(), weight, 0)
        index = np.array([(axis * weight).sum() for axis in np.indices(weight.shape)])
        index = (index / weight.sum())[::-1]
        return np.array(image.TransformContinuousIndexToPhysicalPoint(index.tolist()))

    apart = centre(found, place) - centre(ball, geometry)
    assert np.abs(apart).max() < 0.3
    assert np.prod(found.shape) * np.prod(place.spacing_mm) == pytest.approx(22 * 24 * 22 * 3)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="jpeg"):
        ExtraFiles(folder=tmp_path, probabilities="jpeg")  # type: ignore[arg-type]
