"""The review of a site's label maps; a second call keeps what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fednnunet import io
from fednnunet.case_labels import CaseLabels
from fednnunet.dataset import Case
from fednnunet.errors import InputError
from fednnunet.evaluation.label_review import LabelReview
from fednnunet.files import sha256_of
from fednnunet.inference.bundle import Bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.predict import predict_cases
from fednnunet.inference.review_labels import review_labels
from fednnunet.planning.plan import Plan
from fednnunet.supervision import Supervision
from fednnunet.volume import Geometry, Volume

GEOMETRY = Geometry(spacing_mm=(1.5, 1.0, 1.0), origin_mm=(3.0, -4.0, 7.0))


@pytest.fixture
def bundle(tmp_path: Path, new_plan: Callable[..., Plan], new_bundle: Callable) -> Bundle:
    return new_bundle(tmp_path / "bundle", new_plan())


@pytest.fixture
def cases(tmp_path: Path, bundle: Bundle, compute: Compute) -> list[Case]:
    """Three cases; the label map of the first is the bundle's own mask, of the second without it,
    and the third is a scribble."""
    found = []
    for number, kind in enumerate(("full", "full", "scribble")):
        name = f"case_{number}"
        image = tmp_path / "in" / f"{name}_0000.nii.gz"
        label = tmp_path / "in" / f"{name}.nii.gz"
        array = np.random.default_rng(number).normal(5, 1, (1, 6, 10, 9)).astype(np.float32)
        io.write_volume(Volume(array=array, geometry=GEOMETRY), image)
        labels = CaseLabels(supervision=Supervision(kind=kind))
        found.append(Case(name=name, images=(image,), label=label, group=name, labels=labels))
    predict_cases([bundle], found, tmp_path / "masks", compute=compute)
    for number, case in enumerate(found):
        mask = io.read_label(tmp_path / "masks" / f"{case.name}.nii.gz").array[0]
        assert case.label is not None
        io.write_mask(np.zeros_like(mask) if number == 1 else mask, GEOMETRY, case.label)
    return found


def run(bundle: Bundle, cases: list[Case], out: Path, compute: Compute, **options: bool) -> tuple:
    found = review_labels([bundle], cases, out, compute=compute, sure=1.0, **options)
    assert not found.outcome.faults
    return found.review, found.outcome.written, found.outcome.kept


def test_the_contradicted_map_is_first(tmp_path, bundle, cases, compute):
    out = tmp_path / "out"
    review, written, _ = run(bundle, cases, out, compute)
    assert isinstance(review, LabelReview) and written == ("case_0", "case_1")
    assert [case.case for case in review.cases] == ["case_1", "case_0"]
    assert review.cases[0].disagreement > 0 == review.cases[1].disagreement
    assert review.not_reviewed == ("case_2",)
    better = io.read_label(out / review.cases[0].corrected)
    mask = io.read_label(tmp_path / "masks" / "case_1.nii.gz")
    assert np.array_equal(better.array, mask.array)  # everything is sure enough
    assert not io.grid_difference(better, mask)
    assert (out / "review.html").read_text().count('class="choice"') == 2


def test_a_corrected_label_map_is_reviewed_anew(tmp_path, bundle, cases, compute):
    out = tmp_path / "out"
    run(bundle, cases, out, compute)
    assert run(bundle, cases, out, compute)[1:] == ((), ("case_0", "case_1"))
    mask = io.read_label(tmp_path / "masks" / "case_1.nii.gz").array[0]
    io.write_mask(mask, GEOMETRY, cases[1].label)
    review, written, kept = run(bundle, cases, out, compute)
    assert (written, kept) == (("case_1",), ("case_0",))
    assert all(case.disagreement == 0 for case in review.cases)
    assert review.cases[1].label_sha256 == sha256_of(cases[1].label).hex()


def test_what_cannot_be_reviewed_is_refused(tmp_path, bundle, cases, compute, new_bundle, new_plan):
    with pytest.raises(InputError, match="nothing to review"):
        run(bundle, cases[2:], tmp_path / "out", compute)
    run(bundle, cases, tmp_path / "out", compute)
    other = new_bundle(tmp_path / "other", new_plan(), seed=1)
    with pytest.raises(InputError, match="another bundle"):
        run(other, cases, tmp_path / "out", compute)
