"""The records beside masks: kept from run to run, and begun anew if they are damaged."""

from __future__ import annotations

from fednnunet.inference.predicted import RECORD, ROUTES, PredictedFolder


def test_what_was_added_is_read_by_the_next_run(tmp_path):
    found = PredictedFolder(tmp_path)
    found.add("a", "digest of a", "too large", [{}])
    found.add("b", "digest of b", "", [{"north": 0.25, "south": 0.75}])
    again = PredictedFolder(tmp_path)
    assert again.digests == {"a": "digest of a", "b": "digest of b"}
    assert again.warnings == {"a": "too large"}
    assert '"south": 0.75' in (tmp_path / ROUTES).read_text()


def test_a_warning_goes_with_the_mask_that_it_was_about(tmp_path):
    found = PredictedFolder(tmp_path)
    found.add("a", "one", "too large", [])
    found.add("a", "two", "", [])
    assert PredictedFolder(tmp_path).warnings == {}
    assert not (tmp_path / ROUTES).exists()


def test_a_damaged_record_is_as_none(tmp_path):
    (tmp_path / RECORD).write_text("{")
    assert PredictedFolder(tmp_path).digests == {}
