from __future__ import annotations

import json

import pytest

from fednnunet import records
from fednnunet.errors import DataError, FedNNUNetError, InputError
from fednnunet.evaluation.doubtful import DoubtfulCase, DoubtfulLabels
from fednnunet.federation.site.cases import site_cases
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import SiteSpec
from fednnunet.federation.training_checks import FOLDS
from fednnunet.federation.training_spec import Training
from fednnunet.files import sha256_of
from fednnunet.supervision import SiteSupervision, Supervision
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


def split(spec, fraction=0.2, **training):
    settings = Training(held_out=fraction, **{"seed": 3, **training})
    return site_cases(spec, TASK, settings, site="s")


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


def test_in_five_folds_every_patient_is_held_out_once_with_both_scans(folder):
    spec = SiteSpec(folder=folder, patient="(p[0-9])_scan[0-9]")
    found = [split(spec, fold=fold) for fold in range(FOLDS)]
    held_out = [case.name for cases in found for case in cases.held_out]
    assert sorted(held_out) == sorted(case.name for case in found[0].training + found[0].held_out)
    for cases in found:
        assert len(cases.held_out) == 2 and len({case.group for case in cases.held_out}) == 1
        assert not {c.group for c in cases.training} & {c.group for c in cases.held_out}
    assert split(spec, fold=1, seed=9) == found[1]


def test_patients_may_be_named_in_the_dataset_file(folder):
    header = json.loads((folder / "dataset.json").read_text())
    groups = {f"p{patient}_scan{scan}": f"P{patient}" for patient in range(5) for scan in range(2)}
    (folder / "dataset.json").write_text(json.dumps(header | {"groups": groups}))
    cases = split(SiteSpec(folder=folder), fold=0)
    assert len(cases.held_out) == 2 and len({case.group for case in cases.held_out}) == 1


def test_a_site_of_too_few_patients_for_the_folds_says_so(folder):
    with pytest.raises(InputError, match="1 patients cannot be split into 5 folds"):
        split(SiteSpec(folder=folder, patient="(p)[0-9]_scan[0-9]"), fold=0)


def test_a_fold_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no fold 5"):
        Training(fold=5)


def kinds(folder, default=None, **cases):
    """Write the kinds of labels into `dataset.json`; cases without a map lose theirs."""
    header = json.loads((folder / "dataset.json").read_text())
    header["supervision"] = {
        **({} if default is None else {"default": {"kind": default}}),
        "cases": {name: {"kind": kind} for name, kind in cases.items()},
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    for path in (folder / "labelsTr").iterdir():
        if cases.get(path.name.removesuffix(".nii.gz"), default or "full") == "none":
            path.unlink()


def test_cases_that_cannot_be_scored_are_for_training(folder):
    full = {f"p{patient}_scan{scan}": "full" for patient in (1, 3) for scan in range(2)}
    kinds(folder, "none", **full)
    cases = split(SiteSpec(folder=folder), fraction=0.5)
    assert len(cases.training) == 8 and len(cases.held_out) == 2
    assert {case.name for case in cases.held_out} <= full.keys()
    by_patient = split(SiteSpec(folder=folder, patient="(p[0-9])_scan[0-9]"), fraction=0.5)
    assert {case.group for case in by_patient.held_out} in ({"p1"}, {"p3"})


def test_a_patient_with_an_unlabelled_scan_is_never_held_out(folder):
    kinds(folder, p0_scan1="none")
    for seed in range(20):
        spec = SiteSpec(folder=folder, patient="(p[0-9])_scan[0-9]")
        assert "p0" not in {case.group for case in split(spec, seed=seed).held_out}


def test_without_labels_nothing_is_held_out_and_all_train(folder):
    kinds(folder, "none")
    cases = split(SiteSpec(folder=folder))
    assert len(cases.training) == 10 and cases.held_out == ()
    assert cases.supervision(Supervision()).of("p1_scan0") == Supervision(kind="none")


def test_a_site_that_does_not_train_scores_its_labelled_cases(folder):
    kinds(folder, p0_scan1="none")
    cases = split(SiteSpec(folder=folder, trains=False))
    assert len(cases.held_out) == 10 and len(cases.scored) == 9


def test_the_federation_file_holds_where_the_site_says_nothing(folder):
    task = Task(name="t", channels=("MRI",), labels=("background", "a", "b"))
    spec = SiteSpec(folder=folder, labels="partial", annotated=("a",))
    cases = site_cases(spec, task, Training(held_out=0.2), site="s")
    partial = Supervision(kind="partial", annotated=(1,))
    assert {case.labels.supervision for case in cases.training} == {partial}
    assert cases.supervision(partial) == SiteSupervision(default=partial)
    kinds(folder, "full")
    with pytest.raises(FedNNUNetError, match="which the federation file says"):
        site_cases(spec, task, Training(held_out=0.2), site="s")


def test_a_test_set_has_full_labels_whatever_the_training_cases_have(folder):
    for part, ending in (("imagesTs", "_0000.nii.gz"), ("labelsTs", ".nii.gz")):
        (folder / part).mkdir()
        for name in "qr":
            (folder / part / f"{name}{ending}").touch()
    kinds(folder, "none", r="none")
    cases = split(SiteSpec(folder=folder))
    assert [case.name for case in cases.held_out] == ["q"]


def test_the_list_of_the_sites_policy_decides_what_trains(folder):
    path = folder / "labelsTr" / "p0_scan0.nii.gz"
    doubtful = {"p0_scan0": DoubtfulCase(label_sha256=sha256_of(path).hex(), weight=0.5)}
    records.write(DoubtfulLabels(source="b", cases=doubtful), folder / "doubtful.json")
    policy = SitePolicy(doubtful_labels="doubtful.json")

    def trained(noisy, policy=policy):
        training = Training(held_out=0.0, noisy=noisy)
        return site_cases(SiteSpec(folder=folder), TASK, training, policy, site="s")

    assert len(trained("keep").training) == len(trained("drop", policy=None).training) == 10
    assert len(trained("drop").training) == 9
    assert trained("down-weight").weights == {"p0_scan0": 0.5}
