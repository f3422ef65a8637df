"""Masks, uncertainty maps and the page of a folder; a second call keeps what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fednnunet import io, records
from fednnunet.dataset import list_images
from fednnunet.errors import InputError
from fednnunet.evaluation.review import ReviewCase
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.pseudolabel import pseudolabel_cases
from fednnunet.inference.reviewed import read_digests
from fednnunet.planning.plan import Plan
from fednnunet.volume import Geometry, Volume


@pytest.fixture
def bundle(tmp_path: Path, new_plan: Callable[..., Plan], new_bundle: Callable) -> Bundle:
    return new_bundle(tmp_path / "bundle", new_plan())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(2):
        array = np.random.default_rng(number).normal(5, 1, (1, 6, 10, 9)).astype(np.float32)
        path = tmp_path / "in" / f"case_{number}_0000.nii.gz"
        path.parent.mkdir(exist_ok=True)
        geometry = Geometry(spacing_mm=(1.5, 1.0, 1.0), origin_mm=(3.0, -4.0, 7.0))
        io.write_volume(Volume(array=array, geometry=geometry), path)
    return tmp_path / "in"


def run(bundle: Bundle, images: Path, out: Path, compute: Compute, **options: bool) -> tuple:
    cases = list_images(images, 1)
    outcome = pseudolabel_cases([bundle], cases, out, compute=compute, **options)
    assert not outcome.faults
    return outcome.written, outcome.kept


def test_everything_is_written_on_the_grid_of_the_image(tmp_path, bundle, images, compute):
    out = tmp_path / "out"
    assert run(bundle, images, out, compute) == (("case_0", "case_1"), ())
    image = io.read_volume([images / "case_0_0000.nii.gz"])
    mask = io.read_label(out / "case_0.nii.gz")
    doubt = io.read_raw(out / "uncertainty" / "case_0.nii.gz")
    assert not io.grid_difference(image, mask) and not io.grid_difference(image, doubt)
    assert doubt.array.dtype == np.float32 and 0 < doubt.array.max() <= 1
    figures = records.read(ReviewCase, out / "review" / "case_0.json")
    found = int((mask.array > 0).sum())
    assert figures.unsure_share == pytest.approx(float(doubt.array.sum()) / found, rel=1e-4)
    assert sum(figures.volumes_ml.values()) == pytest.approx(found * 1.5 / 1000)
    page = (out / "review.html").read_text()
    assert page.count('class="accept"') == 2 and bundle.digest in page
    assert read_digests(out).source == f"bundle {bundle.digest}"


def test_a_second_call_does_only_what_is_missing(tmp_path, bundle, images, compute):
    out = tmp_path / "out"
    run(bundle, images, out, compute)
    page = (out / "review.html").read_bytes()
    (out / "uncertainty" / "case_1.nii.gz").unlink()
    assert run(bundle, images, out, compute) == (("case_1",), ("case_0",))
    assert run(bundle, images, out, compute) == ((), ("case_0", "case_1"))
    assert (out / "review.html").read_bytes() == page


def test_another_bundle_is_refused_in_the_same_folder(
    tmp_path, bundle, images, compute, new_plan, new_bundle
):
    run(bundle, images, tmp_path / "out", compute)
    other = new_bundle(tmp_path / "other", new_plan(), seed=1)
    with pytest.raises(InputError, match="another bundle"):
        run(other, images, tmp_path / "out", compute)
    written, _ = run(other, images, tmp_path / "out", compute, overwrite=True)
    assert len(written) == 2 and read_digests(tmp_path / "out").bundles == (other.digest,)
