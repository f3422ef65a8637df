from __future__ import annotations

import json

import pytest

from fednnunet.errors import DataError
from fednnunet.federation.site_cases import site_cases
from fednnunet.federation.spec import SiteSpec
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "a"))


@pytest.fixture
def folder(tmp_path):
    """Ten scans of five patients; the files are empty, since no image is read here."""
    for part, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (tmp_path / part).mkdir()
        for patient in range(5):
            for scan in range(2):
                (tmp_path / part / f"p{patient}_scan{scan}{ending}").touch()
    header = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(header))
    return tmp_path


def split(spec, fraction=0.2):
    return site_cases(spec, TASK, site="s", fraction=fraction, seed=3)


def test_a_share_of_patients_is_held_out_whole(folder):
    cases = split(SiteSpec(folder=folder, patient="(p[0-9])_scan[0-9]"))
    training, held_out = ({c.group for c in part} for part in (cases.training, cases.held_out))
    assert len(cases.training) + len(cases.held_out) == 10
    assert held_out
    assert not training & held_out


def test_the_split_is_the_same_every_time(folder):
    spec = SiteSpec(folder=folder)
    assert split(spec) == split(spec)


def test_no_share_holds_nothing_out(folder):
    assert split(SiteSpec(folder=folder), fraction=0.0).held_out == ()


def test_a_test_set_is_what_is_held_out(folder):
    for part, ending in (("imagesTs", "_0000.nii.gz"), ("labelsTs", ".nii.gz")):
        (folder / part).mkdir()
        (folder / part / f"q{ending}").touch()
    cases = split(SiteSpec(folder=folder))
    assert len(cases.training) == 10
    assert [case.name for case in cases.held_out] == ["q"]
    (folder / "labelsTs" / "q.nii.gz").unlink()
    with pytest.raises(DataError, match="1 test images have no label"):
        split(SiteSpec(folder=folder))


def test_a_site_that_does_not_train_holds_all_out(folder):
    cases = split(SiteSpec(folder=folder, trains=False))
    assert cases.training == ()
    assert len(cases.held_out) == 10


def test_a_case_that_belongs_to_no_patient_is_named(folder):
    with pytest.raises(DataError, match="p0_scan0 does not match"):
        split(SiteSpec(folder=folder, patient="(patient.)"))
