from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fednnunet.case_labels import CaseLabels
from fednnunet.errors import DataError
from fednnunet.evaluation.postprocess import Postprocessing, TargetRule
from fednnunet.evaluation.tables import read_cases_csv
from fednnunet.federation.site.evaluation import CASES, evaluate_at_site, read_pictures
from fednnunet.federation.site.ruled_scores import RuleRelease
from fednnunet.io import read_label, write_mask
from fednnunet.supervision import Supervision
from tests.inference.conftest import TASK, make_bundle, make_plan
from tests.preprocess.small_cases import a_case


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), make_plan())


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    label = np.zeros((6, 8, 10), np.uint8)
    label[1:4, 2:6, 3:8], label[2, 3:5, 4:6] = 1, 2
    return [a_case(folder, name, label=label) for name in ("anna", "bert")]


@pytest.fixture(scope="module")
def evaluated(bundle, cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    return evaluate_at_site(bundle, cases, folder, device="cpu"), folder


def test_sums_are_those_of_the_cases_in_the_sites_folder(evaluated):
    scores, folder = evaluated
    kept = read_cases_csv(folder / CASES)[""]
    assert scores.cases == 2
    assert [case.case for case in kept] == ["anna", "bert"]
    for target in TASK.targets:
        total = sum(case.targets[target].dice for case in kept)
        assert scores.targets[target].dice.total == pytest.approx(
            total, abs=1e-5
        )  # rounded in the file


def test_pictures_are_read_back_and_named_by_rank(evaluated):
    _, folder = evaluated
    found = read_pictures(folder)
    assert [picture.rank for picture in found] == ["worst", "best"]
    assert {picture.case for picture in found} == {"anna", "bert"}
    assert all(picture.png.startswith(b"\x89PNG") for picture in found)
    assert {path.name for path in folder.glob("*.png")} == {"worst.png", "best.png"}


def test_a_folder_without_pictures_has_none(bundle, cases, tmp_path):
    evaluate_at_site(bundle, cases[:1], tmp_path, device="cpu", pictures=False)
    assert read_pictures(tmp_path) == ()
    assert not list(tmp_path.glob("*.png"))


def test_no_name_of_a_case_is_in_the_sums(evaluated):
    scores, _ = evaluated
    text = json.dumps(dataclasses.asdict(scores))
    assert "anna" not in text and "bert" not in text


def test_targets_that_a_case_does_not_annotate_are_not_scored(bundle, cases, tmp_path):
    partial = Supervision(kind="partial", annotated=(1,))
    bert = dataclasses.replace(cases[1], labels=CaseLabels(supervision=partial))
    scores = evaluate_at_site(bundle, [cases[0], bert], tmp_path, device="cpu", pictures=False)
    assert scores.targets["organ"].dice.count == 2
    assert scores.targets["nodule"].dice.count == 1


def test_a_case_without_a_label_map_cannot_be_scored(bundle, cases, tmp_path):
    unlabelled = dataclasses.replace(cases[0], label=None)
    with pytest.raises(DataError, match="has no label map"):
        evaluate_at_site(bundle, [unlabelled], tmp_path, device="cpu")


def test_scores_after_post_processing_leave_the_sites_files_as_they_are(bundle, cases, tmp_path):
    """The mask is two pieces, and the smaller one is false."""
    plain = evaluate_at_site(bundle, cases, tmp_path, device="cpu", pictures=False)
    for case in cases:
        mask = np.zeros((6, 8, 10), np.uint8)
        mask[1:4, 2:6, 3:8], mask[5, 7, 9] = 1, 1
        path = tmp_path / f"{case.name}.nii.gz"
        write_mask(mask, read_label(path).geometry, path)
    organ, scores = TASK.targets[0], []
    largest = Postprocessing(targets={organ: TargetRule(largest=True)})
    release = RuleRelease(folder=tmp_path.parent / "site", rule=largest, round=1, min_cases=1)
    for rule in (None, release):
        scores.append(
            evaluate_at_site(bundle, cases, tmp_path, device="cpu", pictures=False, rule=rule)
        )
        if rule is None:
            before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert scores[1].mean("dice", organ) > scores[0].mean("dice", organ)
    assert scores[1].cases == plain.cases
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
