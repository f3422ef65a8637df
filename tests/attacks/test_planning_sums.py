"""A coordinator that tries to learn single cases from what planning asks for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fednnunet.errors import FedNNUNetError, RefusalError
from fednnunet.federation.site.measurements import MeasurementStore
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.planning.fingerprint import AXES, CaseFingerprint, Fingerprint
from fednnunet.planning.histogram import SPACING_MM, order_statistic
from fednnunet.planning.minimum_counts import release_fingerprint
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.planning.validate import shares, validate
from fednnunet.task import Task

TASK = Task(name="t", channels=("MRI",), labels=("background", "organ"))
MIN = SitePolicy().min_bin_count


def make_case(seed: int) -> CaseFingerprint:
    rng = np.random.default_rng(seed)
    z, y, x = (int(edge) for edge in rng.integers(30, 80, 3))
    plane = round(float(rng.uniform(0.6, 1.4)), 4)
    return CaseFingerprint(
        spacing_mm=(round(float(rng.uniform(1, 3)), 3), plane, plane),
        shape_vox=(z, y, x),
        crop_ratio=round(float(rng.uniform(0.6, 1)), 3),
        foreground=(ForegroundSketch.of_voxels(rng.normal(300 + rng.normal(0, 20), 60, 800)),),
        voxels_per_label=(z * y * x - 800, 800),
    )


def released(cases: list[CaseFingerprint], min_bin_count: int = MIN) -> Fingerprint:
    return release_fingerprint(TASK, cases, min_bin_count=min_bin_count)


def counts_of(total: Fingerprint) -> np.ndarray:
    """All entries of histograms that count cases."""
    found = [total.block(f"spacing_{a}")[0] for a in AXES] + [total.block("crop_ratio")[0]]
    found += [total.block(f"shape_{a}") for a in AXES] + [total.block("orientation")]
    found += [total.block("foreground_0")[0], total.block("label_kinds").ravel()]
    found.append(total.block("volume_per_label").ravel())
    return np.concatenate(found)


def test_reading_off_entries_of_a_single_case() -> None:
    cases = [make_case(seed) for seed in range(16)]
    assert (counts_of(released(cases, 1)) == 1).sum() > 16  # exact mode tells single cases
    counts = counts_of(released(cases))
    assert counts[counts > 0].min() >= 5


def test_solving_the_moments_of_a_bin_for_its_values() -> None:
    """Two distinct values in a bin follow from its sums of powers, so one case did as well."""
    cases = [dataclasses.replace(make_case(seed), spacing_mm=(1.0, 1.0, 1.0)) for seed in range(9)]
    victim = dataclasses.replace(make_case(9), spacing_mm=(1.00003, 1.0, 1.0))
    for min_bin_count, seen in ((1, True), (MIN, False)):
        table = released([*cases, victim], min_bin_count).block("spacing_z")
        solved = [order_statistic(table, SPACING_MM, rank) for rank in range(10)]
        assert (1.00003 in solved) == seen


def test_subtracting_what_is_known_of_all_other_cases() -> None:
    """The coordinator knows all values of a group but one; rounding leaves a range for it."""
    others = [dataclasses.replace(make_case(s), shape_vox=(40, 40 + s, 40)) for s in range(4)]
    guesses = set()
    for edge in range(30, 90):
        victim = dataclasses.replace(make_case(7), shape_vox=(40, edge, 40))
        (value,) = np.flatnonzero(released([*others, victim]).block("shape_y"))
        guesses.add(int(value))
    assert len(guesses) <= 60 / 4


def test_measuring_again_after_one_added_case(tmp_path: Path) -> None:
    cases = [make_case(seed) for seed in range(12)]
    store = MeasurementStore(folder=tmp_path / "kept", min_cases=5, min_bin_count=1)
    before = store.fingerprint(TASK, cases).vector
    after = store.fingerprint(TASK, [*cases, make_case(99)]).vector
    assert not (after - before).any()


def test_going_back_to_an_earlier_set_of_cases_plus_one(tmp_path: Path) -> None:
    """Every single step changes enough cases, but the first and the last set differ by one."""
    cases = [make_case(seed) for seed in range(20)]
    store = MeasurementStore(folder=tmp_path / "kept", min_cases=5, min_bin_count=1)
    first = store.fingerprint(TASK, cases[:10]).vector
    store.fingerprint(TASK, cases[:16])
    last = store.fingerprint(TASK, cases[:11]).vector
    assert not (last - first).any()


def test_asking_under_another_name_of_the_task(tmp_path: Path) -> None:
    cases = [make_case(seed) for seed in range(12)]
    store = MeasurementStore(folder=tmp_path / "kept", min_cases=5, min_bin_count=1)
    store.fingerprint(TASK, cases)
    other = Task(name="u", channels=TASK.channels, labels=TASK.labels)
    with pytest.raises(RefusalError, match="one task only") as caught:
        store.fingerprint(other, [*cases, make_case(99)])
    assert "deletes the folder" in caught.value.mend


def test_bisecting_extents_by_252_target_spacings(tmp_path: Path) -> None:
    cases = [make_case(seed) for seed in range(9)]
    store = MeasurementStore(folder=tmp_path / "kept", min_cases=5, min_bin_count=1)
    store.fingerprint(TASK, cases)
    answered = refused = 0
    for spacing in np.linspace(0.5, 5, 252):
        try:
            store.shapes((float(spacing), 1.0, 1.0))
            answered += 1
        except RefusalError as error:
            assert "deletes the folder" in error.mend
            refused += 1
    assert (answered, refused) == (1, 251)


def test_asking_for_shapes_at_absurd_spacings(tmp_path: Path) -> None:
    store = MeasurementStore(folder=tmp_path / "kept", min_cases=5, min_bin_count=1)
    store.fingerprint(TASK, [make_case(seed) for seed in range(9)])
    for spacing in (0.0, -1.0, 1e-12, 1e12, float("inf"), float("nan")):
        with pytest.raises(RefusalError):
            store.shapes((spacing, 1.0, 1.0))
    store.shapes((1.0, 1.0, 1.0))  # refused questions are not the one answer


@pytest.mark.parametrize("min_bin_count", [MIN, 10])
def test_asking_whether_all_bins_of_a_case_are_occupied(min_bin_count: int) -> None:
    """AUC of the share of a candidate's occupied bins, members against non-members."""
    wins: list[float] = []
    exact_wins: list[float] = []
    for split in range(12):
        cases = [make_case(1000 * split + seed) for seed in range(28)]
        for count, found in ((1, exact_wins), (min_bin_count, wins)):
            total = counts_of(released(cases[:14], count)) > 0
            own = [counts_of(released([case], 1)) > 0 for case in cases]
            share = np.array([total[bins].mean() for bins in own])
            inside, outside = share[:14, None], share[None, 14:]
            found.append(float((inside > outside).mean() + (inside == outside).mean() / 2))
    assert np.mean(exact_wins) > 0.95
    assert np.mean(wins) <= 0.6


def test_claiming_millions_of_cases_to_set_the_plan() -> None:
    honest = released([make_case(seed) for seed in range(10)])
    forged = Fingerprint.from_vector(TASK, released([make_case(3)] * 10).vector * 520_000)
    with pytest.raises(FedNNUNetError, match=r"5.2e\+06"):
        validate(forged, site="south")
    modest = Fingerprint.from_vector(TASK, released([make_case(3)] * 10).vector * 100)
    assert shares({"south": modest, "north": honest}) == pytest.approx(
        {"north": 10 / 1010, "south": 1000 / 1010}
    )


@pytest.mark.parametrize(
    ("block", "place", "value", "message"),
    [
        ("spacing_z", 2, -1.0, "moments"),
        ("spacing_z", 2, 1e18, "moments"),
        ("spacing_z", 1, 1e9, "moments"),
        ("spacing_z", 4, -3.0, "moments"),
        ("crop_ratio", 1, 1e7, "moments"),
        ("foreground_0", 3, 50.0, "outside of their bins|negative variance"),
        ("voxels_per_label", None, 1e15, "more than volumes"),
        ("label_kinds", None, 99.0, "kinds of labels"),
        ("volume_per_label", None, 3.0, "volumes of labels"),
        ("orientation", None, 3.0, "orientation counts"),
        ("cases_with_foreground", None, 3.0, "only 3 cases have foreground"),
    ],
)
def test_sending_sums_that_no_cases_can_have(
    block: str, place: int | None, value: float, message: str
) -> None:
    total = released([make_case(seed) for seed in range(10)], 1)
    validate(total, site="south")
    table = total.block(block)
    if place is None:
        table.reshape(-1)[0] = value
    else:
        table[place, np.flatnonzero(table[0])[0]] = value
    with pytest.raises(FedNNUNetError, match=message):
        validate(total, site="south")
