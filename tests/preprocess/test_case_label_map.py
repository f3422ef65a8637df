"""Loaded label maps by the kind of labels, boxes as voxels, and contradictions of the files."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from fednnunet import io
from fednnunet.case_labels import LabelBox
from fednnunet.dataset import read_dataset
from fednnunet.preprocess.boxes import box_map, voxels_of
from fednnunet.preprocess.check import check_site
from fednnunet.preprocess.fix import fix_site
from fednnunet.preprocess.load import load_case
from fednnunet.preprocess.measure_site import measure_cases
from fednnunet.supervision import UNKNOWN
from fednnunet.volume import Geometry, Volume
from tests.label_kinds import BOXES, ENTRIES, SHAPE, TASK, organs, scribbles, write_map, write_site


def loaded(folder, name):
    case = next(case for case in read_dataset(folder, TASK).cases if case.name == name)
    return load_case(case, TASK)[1]


def words(folder):
    report = check_site(folder, TASK)
    return "\n".join(str(fault.error()) for fault in report.faults)


def test_marks_are_known_and_all_else_is_unknown(tmp_path):
    label = loaded(write_site(tmp_path), "scribble")
    assert label.dtype == np.int16
    assert np.array_equal(label == UNKNOWN, scribbles() == 9)
    assert label[5, 5, 3] == 1 and label[5, 1, 3] == 0


@pytest.mark.parametrize("name", ["none", "image"])
def test_of_a_case_without_a_map_nothing_is_known(tmp_path, name):
    label = loaded(write_site(tmp_path), name)
    assert label.shape == SHAPE and (label == UNKNOWN).all()


def test_boxes_are_bits_in_the_order_of_the_files_axes(tmp_path):
    label = loaded(write_site(tmp_path), "box")
    assert (label[4:8, 3:7, 2:6] & 1).all() and (label & 1).sum() == 4**3
    assert (label[7:9, 6:9, 5:9] & 2).all() and np.count_nonzero(label & 2) == 2 * 3 * 4
    assert label[7, 6, 5] == 3


def test_a_filled_map_says_the_same(tmp_path):
    boxed = {**ENTRIES, "full_0": {"kind": "box", "map": True}}
    label = loaded(write_site(tmp_path, supervision={"cases": boxed}), "full_0")
    assert np.array_equal(label, organs(1, 2).astype(np.int16))  # the bits of 1 and 2 are 1 and 2


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR"])
@pytest.mark.parametrize("edges", [0.0, -0.5])
def test_places_in_mm_are_those_of_the_nifti_affine(tmp_path, code, edges):
    """Corners at the centres of the voxels, or half a voxel lower, at their edges."""
    ornt = nibabel.orientations.axcodes2ornt(code)
    affine = np.linalg.inv(nibabel.orientations.inv_ornt_aff(ornt, (9, 9, 9)))
    affine = affine @ np.diag([2.0, 1.5, 0.5, 1.0])
    affine[:3, 3] += (30, -20, 7)
    path = tmp_path / "x.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 8, 7), np.float32), affine), path)
    volume = io.read_volume([path])
    corners = np.array([[1, 2, 3], [4, 4, 7]]) + edges
    places = nibabel.affines.apply_affine(affine, corners)
    low, high = places.min(0), places.max(0)
    box = LabelBox(label=1, low=tuple(low), high=tuple(high), unit="mm")
    found = voxels_of(box, volume)
    if edges == 0.0:  # half open along the patient's axes: those that point back keep the far end
        assert all(b - a == n for (a, b), n in zip(found, (4, 2, 3), strict=True))
    else:
        assert found == ((3, 7), (2, 4), (1, 4))


def test_a_box_in_mm_between_voxel_centres_is_the_voxel_that_it_lies_in():
    volume = Volume(
        array=np.zeros((1, 5, 5, 5), np.float32), geometry=Geometry(spacing_mm=(2,) * 3)
    )
    box = LabelBox(label=2, low=(-4.6, -4.6, 3.5), high=(-4.4, -4.4, 3.7), unit="mm")
    assert np.argwhere(box_map([box], volume)).tolist() == [[2, 2, 2]]


def test_a_site_of_every_kind_is_fit(tmp_path):
    report = check_site(write_site(tmp_path, full=4), TASK)
    assert report.faults == ()
    assert report.cases_per_kind == {
        "box": 1, "full": 4, "image": 1, "none": 1, "partial": 1, "scribble": 1,
    }  # fmt: skip
    assert report.cases_per_label == {"a": 7, "b": 5}


def test_a_site_without_any_labels_is_warned(tmp_path):
    write_site(tmp_path, full=0, supervision={"default": {"kind": "none"}})
    for path in (tmp_path / "labelsTr").iterdir():
        path.unlink()
    report = check_site(tmp_path, TASK)
    assert report.faults == () and "no labels" in report.counts()


def test_every_contradiction_of_files_is_listed_at_once(tmp_path):
    checked = {"kind": "full", "presence": "presence.csv"}
    entries = {**ENTRIES, "full_0": checked, "full_1": checked}
    write_site(tmp_path, supervision={"cases": entries})
    write_map(tmp_path, "partial", organs(1, 2))
    write_map(tmp_path, "full_0", organs(2))
    rows = "full_0,a,1\nfull_1,b,0\nimage,a,1\n"
    (tmp_path / "presence.csv").write_text("case,label,present\n" + rows)
    outside = {"label": "a", "low": [0, 0, 0], "high": [15, 1, 1]}
    boxes = {**BOXES, "cases": {"box": [outside]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    found = words(tmp_path)
    for said in (
        "case partial has label 2 (b), which its labels do not annotate",
        "case full_0 has a, as a table says, but nothing of it is drawn",
        "case full_1 has no b, as a table says, but it is drawn",
        "a box of case box (a) is outside of the volume",
    ):
        assert said in found
    assert check_site(tmp_path, TASK).counts()["label kind"] == 4


def test_only_known_foreground_is_measured(tmp_path):
    cases = read_dataset(write_site(tmp_path), TASK).cases
    found = {c.name: f for c, f in zip(cases, measure_cases(cases, TASK), strict=True)}
    assert found["scribble"].voxels_per_label == (4, 4, 0)
    assert found["partial"].kind == "partial" and found["partial"].annotated == (1,)
    assert found["full_0"].annotated is None
    for name, annotated in {"box": None, "image": None, "none": ()}.items():
        assert found[name].voxels_per_label == (0, 0, 0)
        assert found[name].annotated == annotated
        assert all(sketch.empty for sketch in found[name].foreground)
    weight = found["scribble"].foreground[0].columns[1].sum()
    assert weight == pytest.approx(1)


def test_a_corrected_copy_keeps_every_kind_of_labels(tmp_path):
    fixed = fix_site(write_site(tmp_path / "site", full=4), tmp_path / "copy", TASK)
    assert not any(case.left_out for case in fixed)
    assert check_site(tmp_path / "copy", TASK).faults == ()
    copy, site = (loaded(tmp_path / name, "scribble") for name in ("copy", "site"))
    assert np.array_equal(copy, site)
