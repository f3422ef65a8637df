"""Which case a patch is taken from."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.case_choice import ClassTable, choose_case
from fednnunet.training.imbalance import ClassBalance
from fednnunet.training.patches import class_groups
from tests.training.fakes import MemoryCase, MemoryStore, small_task, source

NAMES = tuple(f"case{number}" for number in range(5))


def store() -> MemoryStore:
    """Five cases with label 1, of which the last has label 2, too."""
    cases = {}
    for name in NAMES:
        seg = np.zeros((8, 8, 8), np.int16)
        seg[2:6, 2:6, 2:6] = 1
        if name == NAMES[-1]:
            seg[3, 3, 3] = 2
        cases[name] = MemoryCase(np.zeros((1, 8, 8, 8), np.float32), seg)
    return MemoryStore(cases)


def table(**changes: object) -> ClassTable:
    values: dict = {
        "store": store(),
        "names": NAMES,
        "weights": {},
        "supervision": SiteSupervision(),
    }
    return ClassTable(**{**values, **changes})


def test_a_class_is_chosen_before_a_case() -> None:
    rng, counts = np.random.default_rng(0), Counter()
    for _ in range(600):
        found = table().of_a_class(small_task(), rng)
        assert found is not None
        counts[found] += 1
    assert 240 < counts[NAMES[-1], (2,)] < 360  # a half, though one case in five has it
    assert 30 < counts[NAMES[0], (1,)] < 95  # a fifth of the other half
    regions = small_task(regions={"whole": (1, 2)})
    assert table().of_a_class(regions, rng)[1] == (1, 2)
    assert class_groups(regions) == [(1, 2)]


def test_without_foreground_or_weight_there_is_none() -> None:
    rng = np.random.default_rng(0)
    assert table(names=()).of_a_class(small_task(), rng) is None
    found = table(weights={NAMES[-1]: 0.0})
    assert {found.of_a_class(small_task(), rng)[1] for _ in range(20)} == {(1,)}


def test_a_donor_is_another_fully_labelled_case() -> None:
    rng = np.random.default_rng(0)
    assert table().donor((2,), NAMES[0], rng) == (NAMES[-1], 2)
    assert table().donor((2,), NAMES[-1], rng) is None
    sparse = SiteSupervision(cases={NAMES[-1]: Supervision(kind="scribble")})
    assert table(supervision=sparse).donor((2,), NAMES[0], rng) is None


def test_weights_are_chances() -> None:
    rng = np.random.default_rng(0)
    chosen = Counter(choose_case(("a", "b"), {"a": 3.0}, rng) for _ in range(400))
    assert 260 < chosen["a"] < 340
    assert {choose_case(("a", "b"), {}, rng) for _ in range(20)} == {"a", "b"}


def test_forced_patches_of_a_batch_are_balanced() -> None:
    balanced = source(
        store=store(), names=NAMES, foreground=1.0, balance=ClassBalance(balanced_classes=True)
    )
    plain = source(store=store(), names=NAMES, foreground=1.0)
    rare = [sum(NAMES[-1] in one.cases(step) for step in range(100)) for one in (balanced, plain)]
    assert rare[0] > 75 > rare[1]  # of batches of 3: 1 - 0.4^3 and 1 - 0.8^3 are expected
    assert (balanced[0].labels == 2).any()
