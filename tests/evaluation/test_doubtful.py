"""A site's list of doubtful labels, and the list that a reader saves."""

from __future__ import annotations

from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.evaluation.doubtful import DoubtfulCase, DoubtfulLabels, read_doubtful, read_wrong


def test_the_list_comes_back_as_it_was_written(tmp_path: Path) -> None:
    labels = DoubtfulLabels(source="bundle 12", cases={"a": DoubtfulCase(label_sha256="0f")})
    records.write(labels, tmp_path / "doubtful.json")
    assert read_doubtful(tmp_path / "doubtful.json") == labels
    with pytest.raises(InputError, match="is missing"):
        read_doubtful(tmp_path / "other.json")
    with pytest.raises(InputError, match="weight"):
        DoubtfulCase(label_sha256="0f", weight=1.5)


def test_a_reader_says_which_corrected_maps_are_right(tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text("# by a reader\ncase 1\n\n  case_2 corrected \ncorrected\n")
    assert read_wrong(path) == {"case 1": False, "case_2": True, "corrected": False}
    path.write_text("")
    assert read_wrong(path) == {}


def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text("a\na corrected\n")
    with pytest.raises(InputError, match="names a twice"):
        read_wrong(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_wrong(path)
