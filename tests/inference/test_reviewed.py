"""What is written beside the masks that a reader judges, and whose masks they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fednnunet.errors import InputError
from fednnunet.inference.predict import Outcome
from fednnunet.inference.reviewed import (
    ReviewFiles,
    check_digests,
    finished,
    read_digests,
    write_digests,
)
from fednnunet.task import Task

TASK = Task(name="t", channels=("CT",), labels=("background", "a"))


class Files(ReviewFiles):
    maps = "maps"


def case(name: str) -> Any:
    return SimpleNamespace(name=name)


def bundles(*digests: str) -> Any:
    return [SimpleNamespace(digest=digest) for digest in digests]


def test_a_case_is_there_with_all_of_its_files_and_cleared_of_all(tmp_path: Path) -> None:
    files, one = Files(tmp_path, TASK), case("one")
    paths = (files.map_path(one), files.picture_path(one), files.figures_path(one))
    for path in paths:
        assert not files.there(one)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert files.there(one) and files.pictures([one]) == {"one": b"x"}
    files.clear(one)
    assert not any(path.exists() for path in paths)


def test_masks_of_other_bundles_are_not_mixed_unless_they_are_overwritten(tmp_path: Path) -> None:
    digests = check_digests(bundles("1", "2"), tmp_path, overwrite=False)
    assert digests.source == "bundles 1, 2"
    write_digests(digests, tmp_path)
    assert read_digests(tmp_path) == check_digests(bundles("1", "2"), tmp_path, overwrite=False)
    with pytest.raises(InputError, match="another bundle"):
        check_digests(bundles("1"), tmp_path, overwrite=False)
    assert check_digests(bundles("1"), tmp_path, overwrite=True).source == "bundle 1"


def test_cases_with_a_mask_of_now_or_before_are_finished() -> None:
    outcome = Outcome(written=("b",), kept=("a",), faults=())
    assert [c.name for c in finished([case("a"), case("b"), case("c")], outcome)] == ["a", "b"]
