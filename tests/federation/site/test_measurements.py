from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fednnunet.errors import FedNNUNetError, InputError, RefusalError
from fednnunet.federation.site.measurements import (
    MeasurementStore,
    case_digest,
    changed_cases,
    check_spacing,
)
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.task import Task

TASK = Task(name="t", channels=("CT",), labels=("background", "organ"))
TARGET = (1.0, 1.0, 1.0)


def make_case(seed: int) -> CaseFingerprint:
    rng = np.random.default_rng(seed)
    z, y, x = (int(edge) for edge in rng.integers(30, 60, 3))
    return CaseFingerprint(
        spacing_mm=(float(rng.uniform(1, 3)), 0.8, 0.8),
        shape_vox=(z, y, x),
        crop_ratio=1.0,
        foreground=(ForegroundSketch.of_voxels(rng.normal(50, 20, 400)),),
        voxels_per_label=(z * y * x - 400, 400),
    )


def store_in(folder: Path, *, min_bin_count: int = 5) -> MeasurementStore:
    return MeasurementStore(folder=folder / "kept", min_cases=5, min_bin_count=min_bin_count)


CASES = [make_case(seed) for seed in range(30)]


def test_the_first_answer_is_the_release_and_needs_no_warning(tmp_path: Path) -> None:
    store = store_in(tmp_path, min_bin_count=1)
    answer = store.fingerprint(TASK, CASES[:10])
    assert answer.vector.tobytes() == Fingerprint.of(TASK, CASES[:10]).to_vector().tobytes()
    pairs = [(case.spacing_mm, case.shape_vox) for case in CASES[:10]]
    shapes = store.shapes(TARGET)
    assert shapes.vector.tobytes() == ShapeSketch.of_cases(TARGET, pairs).to_vector().tobytes()
    assert answer.warning == shapes.warning == ""


def test_the_same_cases_in_any_order_get_the_same_bytes_after_a_restart(tmp_path: Path) -> None:
    first = store_in(tmp_path).fingerprint(TASK, CASES[:10])
    shapes = store_in(tmp_path).shapes(TARGET)
    again = store_in(tmp_path).fingerprint(TASK, CASES[:10][::-1])
    assert again.vector.tobytes() == first.vector.tobytes() and again.warning == ""
    assert store_in(tmp_path).shapes(TARGET).vector.tobytes() == shapes.vector.tobytes()


def test_few_changes_repeat_the_answer_and_warn_the_site(tmp_path: Path) -> None:
    first = store_in(tmp_path).fingerprint(TASK, CASES[:10])
    for cases in (CASES[:14], CASES[:6], CASES[4:14]):
        answer = store_in(tmp_path).fingerprint(TASK, cases)
        assert answer.vector.tobytes() == first.vector.tobytes()
        assert "4 cases were added or removed" in answer.warning


def test_enough_changes_give_a_new_answer_and_one_new_spacing(tmp_path: Path) -> None:
    first = store_in(tmp_path).fingerprint(TASK, CASES[:10])
    store_in(tmp_path).shapes(TARGET)
    second = store_in(tmp_path).fingerprint(TASK, CASES[:15])
    assert second.vector.tobytes() != first.vector.tobytes() and second.warning == ""
    store_in(tmp_path).shapes((2.0, 2.0, 2.0))
    with pytest.raises(RefusalError, match="one target spacing"):
        store_in(tmp_path).shapes(TARGET)


def test_shapes_belong_to_the_fingerprint_given_last(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.fingerprint(TASK, CASES[:10])
    shapes = store.shapes(TARGET)
    store.fingerprint(TASK, CASES[:20])
    store.fingerprint(TASK, CASES[:11])  # near the first again
    assert store.shapes(TARGET).vector.tobytes() == shapes.vector.tobytes()


def test_another_policy_does_not_change_what_was_released(tmp_path: Path) -> None:
    first = store_in(tmp_path).fingerprint(TASK, CASES[:10])
    exact = store_in(tmp_path, min_bin_count=1).fingerprint(TASK, CASES[:10])
    assert exact.vector.tobytes() == first.vector.tobytes()
    assert "min_bin_count 5" in exact.warning


def test_a_request_before_any_fingerprint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match="not measured"):
        store_in(tmp_path).shapes(TARGET)


@pytest.mark.parametrize(
    "spacing", [(0.0, 1, 1), (-1, 1, 1), (1e-9, 1, 1), (1e9, 1, 1), (float("nan"), 1, 1), (1, 1)]
)
def test_spacings_out_of_range_are_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(RefusalError, match="this spacing"):
        check_spacing(spacing)
    check_spacing((999.0, 0.5, 0.5))


def test_a_damaged_answer_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    store_in(tmp_path).fingerprint(TASK, CASES[:10])
    path = tmp_path / "kept" / "fingerprint_0.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="damaged"):
        store_in(tmp_path).fingerprint(TASK, CASES[:10])
    path.unlink()
    with pytest.raises(InputError, match="missing"):
        store_in(tmp_path).fingerprint(TASK, CASES[:10])


def test_answers_of_another_version_are_not_repeated(tmp_path: Path) -> None:
    store_in(tmp_path).fingerprint(TASK, CASES[:10])
    path = tmp_path / "kept" / "answers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sums": "schema 1"}))
    with pytest.raises(FedNNUNetError, match="schema 1"):
        store_in(tmp_path).fingerprint(TASK, CASES[:10])


def test_a_crash_before_the_record_leaves_the_first_answer_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MeasurementStore, "_write", crash)
        with pytest.raises(KeyboardInterrupt):
            store_in(tmp_path).fingerprint(TASK, CASES[:10])
    answer = store_in(tmp_path).fingerprint(TASK, CASES[:12])
    again = store_in(tmp_path).fingerprint(TASK, CASES[:12])
    assert again.vector.tobytes() == answer.vector.tobytes()


def test_the_digest_of_a_case_depends_on_all_that_is_counted() -> None:
    case = CASES[0]
    others = [
        dataclasses.replace(case, crop_ratio=0.5),
        dataclasses.replace(case, orientation="RAS"),
        dataclasses.replace(case, kind="box"),
        dataclasses.replace(case, foreground=CASES[1].foreground),
    ]
    assert len({case_digest(c) for c in [case, *others]}) == 5
    assert case_digest(case) == case_digest(make_case(0))


def test_changes_are_counted_as_added_or_removed() -> None:
    assert changed_cases(["a", "a", "b"], ["a", "b"]) == 1
    assert changed_cases(["a", "b"], ["c", "d", "e"]) == 3


def test_the_folder_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    store_in(tmp_path).fingerprint(TASK, CASES[:10])
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
