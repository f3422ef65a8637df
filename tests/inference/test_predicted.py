from __future__ import annotations

import json

import pytest

from fednnunet.inference.predicted import RECORD, ROUTES, PredictedFolder


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_a_new_folder_has_no_records(tmp_path):
    found = PredictedFolder(tmp_path)
    assert (found.digests, found.warnings) == ({}, {})
    assert list(tmp_path.iterdir()) == []


def test_what_is_added_is_found_by_the_next_run(tmp_path):
    folder = PredictedFolder(tmp_path)
    folder.add("b", "22", "", ())
    folder.add("a", "11", "unlike the training", ())
    again = PredictedFolder(tmp_path)
    assert again.digests == {"a": "11", "b": "22"}
    assert again.warnings == {"a": "unlike the training"}
    assert list(read(tmp_path, RECORD)["cases"]) == ["a", "b"]


def test_a_new_prediction_replaces_the_digest_and_the_warning(tmp_path):
    folder = PredictedFolder(tmp_path)
    folder.add("a", "11", "unlike the training", ())
    folder.add("a", "12", "", ())
    assert (folder.digests, folder.warnings) == ({"a": "12"}, {})
    assert read(tmp_path, RECORD)["warnings"] == {}


def test_shares_of_experts_are_joined_and_kept_over_runs(tmp_path):
    PredictedFolder(tmp_path).add("b", "22", "", [{"north": 0.75}, {"south": 0.25}])
    PredictedFolder(tmp_path).add("a", "11", "", [{"north": 1.0}])
    assert read(tmp_path, ROUTES)["cases"] == {
        "a": {"north": 1.0},
        "b": {"north": 0.75, "south": 0.25},
    }


def test_without_experts_there_is_no_record_of_shares(tmp_path):
    PredictedFolder(tmp_path).add("a", "11", "", [{}, {}])
    assert not (tmp_path / ROUTES).exists()


@pytest.mark.parametrize("damaged", ["", "{", '{"cases": {"a": 7}}', '{"unknown": 1}', "\udcff"])
def test_a_damaged_record_counts_as_none(damaged, tmp_path):
    for name in (RECORD, ROUTES):
        (tmp_path / name).write_bytes(damaged.encode(errors="surrogateescape"))
    folder = PredictedFolder(tmp_path)
    assert (folder.digests, folder.warnings) == ({}, {})
    folder.add("a", "11", "", [{"north": 1.0}])
    assert PredictedFolder(tmp_path).digests == {"a": "11"}
    assert read(tmp_path, ROUTES)["cases"] == {"a": {"north": 1.0}}
