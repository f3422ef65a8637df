from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.preprocess.pipeline import prepare_volume
from fednnunet.preprocess.store import Store
from fednnunet.preprocess.stored_case import write_case
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.batches import SecondView, batches
from fednnunet.volume import Geometry, Volume
from tests.training.fakes import MemoryStore, blobs, small_plan, source
from tests.training.mixed import FULL, MIXED, PARTIAL, mixed_batch


def same(a, b):
    return torch.equal(a.image, b.image) and torch.equal(a.labels, b.labels)


def test_a_batch_depends_on_seed_and_step_alone():
    one, two = source(), source()
    two[7]
    assert same(one[4], two[4])
    assert not same(one[4], one[5])
    assert not same(one[4], source(seed=2)[4])
    assert one[4].image.shape == (3, 1, 8, 8, 8) and one[4].labels.shape == (3, 8, 8, 8)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_batches(workers):
    here = list(batches(source(), 3, 7, workers=0, pin=False))
    there = list(batches(source(), 3, 7, workers=workers, pin=False))
    assert len(here) == len(there) == 4
    assert all(same(a, b) for a, b in zip(here, there, strict=True))


@dataclass
class Counting:
    """A store that writes down which process opened it for which case."""

    log: Path
    store: MemoryStore

    def case(self, name):
        with self.log.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        return self.store.case(name)


def test_workers_stay_for_the_next_stretch(tmp_path):
    log = tmp_path / "log"
    there = source(store=Counting(log, blobs()))
    first = list(batches(there, 0, 3, workers=3, pin=False))
    others = list(batches(source(seed=5), 0, 3, workers=3, pin=False))
    again = list(batches(there, 3, 6, workers=3, pin=False))
    made = set(log.read_text().split())
    assert len(made) == 3 and str(os.getpid()) not in made
    here = list(batches(source(), 0, 6, workers=0, pin=False))
    assert all(same(a, b) for a, b in zip(here, [*first, *again], strict=True))
    assert same(others[1], source(seed=5)[1])


def test_a_stretch_that_is_left_halfway_leaves_no_batch_to_the_next():
    half = batches(source(), 0, 8, workers=2, pin=False)
    next(half)
    beside = list(batches(source(seed=3), 0, 4, workers=2, pin=False))
    half.close()
    assert same(beside[0], source(seed=3)[0])
    assert same(next(batches(source(), 2, 6, workers=2, pin=False)), source()[2])


def test_shards_make_up_the_batch():
    whole = source()[2]
    parts = [source(shard=(rank, 2))[2] for rank in range(2)]
    assert torch.equal(parts[0].image, whole.image[::2])
    assert torch.equal(parts[1].image, whole.image[1::2])


def test_the_cases_of_an_iteration_are_those_that_its_whole_batch_reads():
    whole = source()
    for step in range(5):
        read: list[str] = []

        class Spy:
            def case(self, name, read=read):
                read.append(name)
                return whole.store.case(name)

        _ = source(store=Spy())[step]
        assert whole.cases(step) == set(read)
        assert source(shard=(1, 2)).cases(step) == set(read)


class Broken:
    def case(self, name):
        import os

        os._exit(9)


def test_a_killed_worker_is_an_error_and_not_a_hang():
    with pytest.raises(FedNNUNetError, match="ended"):
        list(batches(source(store=Broken()), 0, 2, workers=1, pin=False))


class Damaged:
    def case(self, name):
        raise InputError("data.b2nd is damaged", where=f"/{name}", mend="prepare it anew")


class Mistaken:
    def case(self, name):
        raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_a_case_is_told_in_full_whoever_makes_the_batch(workers):
    with pytest.raises(InputError) as caught:
        list(batches(source(store=Damaged()), 0, 2, workers=workers, pin=False))
    fault = caught.value
    assert (fault.what, fault.mend) == ("data.b2nd is damaged", "prepare it anew")
    assert fault.where.startswith("/case")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_is_not_taken_for_a_lack_of_memory(workers):
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        list(batches(source(store=Mistaken()), 0, 2, workers=workers, pin=False))


@pytest.mark.parametrize("cut", ["data.b2nd", "seg.b2nd", "locations.npy"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_prepared_file_that_is_cut_off_is_named(tmp_path, workers, cut):
    image = np.random.default_rng(0).normal(size=(1, 9, 8, 10)).astype(np.float32)
    geometry = Geometry(spacing_mm=(1.0, 1.0, 1.0))
    volume = Volume(array=image, geometry=geometry)
    plan, configuration = small_plan()
    prepared = prepare_volume(volume, plan, configuration)
    assert prepared.data.shape == image.shape
    locations = np.array([[1, 2, 3, 4]], np.int32)
    write_case(tmp_path, "case0", prepared, key="k", patch_vox=(8, 8, 8), locations=locations)
    path = tmp_path / "case0" / cut
    path.write_bytes(path.read_bytes()[:-20])
    there = source(store=Store.open(tmp_path), names=("case0",))
    with pytest.raises(InputError, match=f"{cut} of a prepared case is damaged") as caught:
        list(batches(there, 0, 1, workers=workers, pin=False))
    assert caught.value.where == str(path) and str(path.parent) in caught.value.mend


def test_no_cases_is_refused():
    with pytest.raises(InputError, match="no case"):
        source(names=())


def test_samples_carry_the_supervision_of_their_case():
    made = [source(supervision=MIXED, size=6)[step] for step in range(3)]
    plain = [source(size=6)[step] for step in range(3)]
    assert {kind for one in made for kind in one.supervision} == {FULL, PARTIAL}
    assert all(torch.equal(a.image, b.image) for a, b in zip(made, plain, strict=True))
    assert set(plain[0].supervision) == {FULL}


def test_a_second_view_is_made_of_the_samples_that_want_it():
    view = SecondView(wanted=lambda supervision: supervision == PARTIAL)
    seen = set()
    for step in range(4):
        plain = source(supervision=MIXED, size=6)[step]
        made = source(supervision=MIXED, size=6, second_view=view)[step]
        assert torch.equal(made.image, plain.image) and torch.equal(made.labels, plain.labels)
        assert plain.weak is None
        for row, supervision in enumerate(made.supervision):
            same = made.weak is None or torch.equal(made.weak[row], made.image[row])
            seen.add((supervision.kind, same))
    assert ("partial", False) in seen and ("full", False) not in seen


def test_parts_and_copies_of_a_batch_keep_its_pseudo_labels():
    whole = replace(
        mixed_batch(),
        weak=torch.zeros(4, 1, 8, 8, 8),
        pseudo=(mixed_batch().labels,),
        pseudo_weights=(0.5,),
    )
    part = whole.part(1, 3)
    assert torch.equal(part.pseudo[0], whole.labels[1:3]) and part.pseudo_weights == (0.5,)
    assert len(part.weak) == 2
    moved = whole.to(torch.device("meta"))
    assert moved.pseudo[0].device.type == moved.weak.device.type == "meta"
    bare = whole.without_pseudo()
    assert bare.pseudo == () and bare.pseudo_weights == ()


def test_parts_and_copies_of_a_batch_keep_it():
    whole = mixed_batch()
    assert whole.part(1, 3).supervision == (PARTIAL, PARTIAL)
    assert whole.to(torch.device("meta")).supervision == whole.supervision
    assert [one.supervision for one in whole.samples()] == [(k,) for k in whole.supervision]
    assert dict(whole.by_supervision()) == {FULL: (0, 3), PARTIAL: (1, 2)}


def test_cases_with_boxes_are_not_turned_and_the_others_are_as_before():
    boxes = SiteSupervision(cases={"case1": Supervision(kind="box")})
    plain, mixed = source(), source(supervision=boxes)
    turned = 0
    for step in range(12):
        before, now = plain[step], mixed[step]
        for a, b in zip(before.samples(), now.samples(), strict=True):
            if b.supervision[0].kind == "box":
                turned += not same(a, b)
            else:
                assert same(a, b)
    assert turned


def test_cases_are_sampled_by_their_weights():
    plain, weighted = source(), source(weights={"case1": 0.0})
    seen = frozenset().union(*(weighted.cases(step) for step in range(40)))
    assert seen == {"case0", "case2"}
    assert all(same(source(weights={})[step], plain[step]) for step in range(2))
    lowered = source(weights={"case1": 0.25}, names=("case0", "case1"), size=1)
    count = sum("case1" in lowered.cases(step) for step in range(500))
    assert 60 < count < 140  # 100 of 500 are expected
    with pytest.raises(InputError, match="are 0"):
        source(weights=dict.fromkeys(plain.names, 0.0))
