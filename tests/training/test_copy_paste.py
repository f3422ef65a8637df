"""A lesion of one case in the patch of another."""

from __future__ import annotations

import numpy as np

from fednnunet.training.batches import BatchSource
from fednnunet.training.copy_paste import Lesion, PastedCase, cut_lesion, paste
from fednnunet.training.imbalance import ClassBalance
from fednnunet.training.patches import PatchSize
from tests.training.fakes import MemoryCase, MemoryStore, source


def case(seg: np.ndarray, value: float) -> MemoryCase:
    return MemoryCase(np.full((1, *seg.shape), value, np.float32), seg.astype(np.int16))


def two_lesions() -> MemoryCase:
    seg = np.zeros((6, 8, 8), np.int16)
    seg[1:3, 1:3, 1:3] = 2
    seg[2, 1:3, 1:3] = 1  # an edge of another copied label
    seg[4, 6:8, 6:8] = 2
    return case(seg, 7.0)


def test_a_lesion_is_one_component_of_the_copied_labels() -> None:
    donor, sizes = two_lesions(), set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        lesion = cut_lesion(donor, 2, (1, 2), (6, 8, 8), rng)
        assert lesion.labels[lesion.anchor] == 2
        sizes.add(int((lesion.labels > 0).sum()))
    assert sizes == {8, 4}
    alone = cut_lesion(donor, 1, (1,), (6, 8, 8), np.random.default_rng(0))
    assert set(np.unique(alone.labels)) == {0, 1} and (alone.labels > 0).sum() == 4


def test_it_covers_background_alone_and_only_where_it_lies() -> None:
    seg = np.zeros((5, 5, 5), np.int16)
    seg[2, 2, 2], seg[2, 2, 3] = 1, -1
    lesion = Lesion(
        image=np.full((1, 1, 1, 4), 9.0, np.float32),
        labels=np.array([[[2, 2, 2, 0]]], np.int16),
        anchor=(0, 0, 0),
    )
    pasted = PastedCase(case(seg, 1.0), lesion, (2, 2, 1))
    image, labels = pasted.read((0, 0, 0), (5, 5, 5))
    assert labels[2, 2].tolist() == [0, 2, 1, -1, 0]
    assert image[0, 2, 2].tolist() == [1, 9, 1, 1, 1]
    assert (labels != seg).sum() == 1
    part, _ = pasted.read((2, 2, 1), (3, 3, 2))
    assert part.tolist() == [[[[9.0]]]]
    image, labels = pasted.read((3, 0, 0), (5, 5, 5))  # beside it
    assert not labels.any() and (image == 1).all()
    assert pasted.case.read((0, 0, 0), (5, 5, 5))[1][2, 2, 1] == 0  # the case itself is as it was


def test_the_place_is_background_of_the_patch() -> None:
    seg = np.ones((6, 8, 8), np.int16)
    seg[3, 4, 5] = 0
    lesion = cut_lesion(two_lesions(), 2, (2,), (4, 4, 4), np.random.default_rng(1))
    size = PatchSize(final_vox=(4, 4, 4), read_vox=(6, 6, 6))
    receiver = paste(case(seg, 1.0), lesion, (0, 1, 2), size, np.random.default_rng(0))
    _, labels = receiver.read((0, 0, 0), (6, 8, 8))
    assert labels[3, 4, 5] == 2 and (labels != seg).sum() == 1
    full = case(np.ones((6, 8, 8), np.int16), 1.0)
    assert paste(full, lesion, (0, 0, 0), size, np.random.default_rng(0)) is full


def test_batches_get_lesions_by_chance_and_the_same_ones_again() -> None:
    empty = np.zeros((12, 12, 12), np.int16)
    seg = empty.copy()
    seg[5:7, 5:7, 5:7] = 2
    store = MemoryStore({"case0": case(empty, 0.0), "case1": case(seg, 5.0)})

    def made(chance: float) -> BatchSource:
        balance = ClassBalance(copied=(2,), copy_chance=chance)
        return source(store=store, names=("case0", "case1"), size=8, balance=balance)

    def with_lesion(chance: float) -> int:
        batches = [made(chance)[step] for step in range(4)]
        return sum(int((labels == 2).any()) for batch in batches for labels in batch.labels)

    assert with_lesion(1.0) > with_lesion(0.0) + 4
    assert made(1.0)[2].labels.equal(made(1.0)[2].labels)
    alone = source(store=store, names=("case1",), balance=ClassBalance(copied=(2,), copy_chance=1))
    plain = source(store=store, names=("case1",))
    assert alone[0].labels.shape == plain[0].labels.shape  # without a donor nothing is pasted
