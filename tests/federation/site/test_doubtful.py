"""What becomes of cases whose labels are doubtful."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.case_labels import CaseLabels
from fednnunet.dataset import Case
from fednnunet.errors import DataError, InputError
from fednnunet.evaluation.doubtful import DoubtfulCase, DoubtfulLabels
from fednnunet.federation.site.doubtful import screen
from fednnunet.label_names import ValueMap


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    found = []
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.nii.gz").write_text(f"labels of {name}")
        found.append(
            Case(
                name=name,
                images=(),
                label=tmp_path / f"{name}.nii.gz",
                group=name,
                labels=CaseLabels(values=ValueMap(pairs=((5, 1),))),
            )
        )
    return found


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Case a is doubtful and corrected, b is doubtful."""
    review = tmp_path / "review"
    (review / "corrected").mkdir(parents=True)
    (review / "corrected" / "a.nii.gz").write_text("better labels")
    digests = {n: hashlib.sha256(f"labels of {n}".encode()).hexdigest() for n in "ab"}
    doubtful = {
        "a": DoubtfulCase(label_sha256=digests["a"], corrected="corrected/a.nii.gz"),
        "b": DoubtfulCase(label_sha256=digests["b"], weight=0.25),
    }
    records.write(DoubtfulLabels(source="bundle", cases=doubtful), review / "doubtful.json")
    return review / "doubtful.json"


def test_each_choice_does_what_it_says(cases: list[Case], listed: Path) -> None:
    assert screen(cases, listed, "keep", site="s").cases == tuple(cases)
    assert screen(cases, None, "drop", site="s").cases == tuple(cases)
    assert screen(cases, listed, "drop", site="s").cases == (cases[2],)
    lowered = screen(cases, listed, "down-weight", site="s")
    assert lowered.cases == tuple(cases) and lowered.weights == {"a": 0.1, "b": 0.25}
    better = screen(cases, listed, "correct", site="s")
    assert [case.name for case in better.cases] == ["a", "c"] and not better.weights
    assert better.cases[0].label == listed.parent / "corrected" / "a.nii.gz"
    assert better.cases[0].labels.values == ValueMap()  # it holds the task's own values
    assert better.cases[1] == cases[2]


def test_labels_that_were_mended_since_are_trusted(cases: list[Case], listed: Path) -> None:
    assert cases[0].label is not None
    cases[0].label.write_text("mended by hand")
    assert screen(cases, listed, "drop", site="s").cases == (cases[0], cases[2])
    assert screen(cases, listed, "correct", site="s").cases == (cases[0], cases[2])


def test_faults_are_said(cases: list[Case], listed: Path) -> None:
    with pytest.raises(DataError, match="none is left"):
        screen(cases[:2], listed, "drop", site="s")
    (listed.parent / "corrected" / "a.nii.gz").unlink()
    with pytest.raises(DataError, match="corrected label map of case a is missing"):
        screen(cases, listed, "correct", site="s")
    with pytest.raises(InputError, match="is missing"):
        screen(cases, listed.with_name("other.json"), "drop", site="s")
