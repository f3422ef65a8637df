from __future__ import annotations

import copy
import dataclasses
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from fednnunet import io
from fednnunet.dataset import Case, read_dataset
from fednnunet.errors import DataError, FedNNUNetError
from fednnunet.preprocess import store as store_module
from fednnunet.preprocess import stored_case
from fednnunet.preprocess.store import Store, case_key, prepare_site
from fednnunet.supervision import UNKNOWN
from fednnunet.volume import Geometry, Volume
from tests.label_kinds import BOXES, ENTRIES, TASK, write_header, write_site
from tests.training.fakes import small_plan, small_task


@pytest.fixture
def cases(tmp_path):
    found = []
    for number in range(3):
        rng = np.random.default_rng(number)
        image = rng.normal(50, 9, (1, 12, 13, 14)).astype(np.float32)
        label = np.zeros((12, 13, 14), np.uint8)
        label[4:8, 4:8, 4:8] = 1
        label[5:7, 5:7, 5:7] = 2
        geometry = Geometry(spacing_mm=(1.0, 1.0, 1.0))
        paths = tmp_path / f"c{number}_0000.nii.gz", tmp_path / f"c{number}.nii.gz"
        io.write_volume(Volume(array=image, geometry=geometry), paths[0])
        io.write_mask(label, geometry, paths[1])
        name = f"c{number}"
        found.append(Case(name=name, images=(paths[0],), label=paths[1], group=name))
    return tuple(found)


def prepare(cases, folder, plan=None, **options):
    return prepare_site(cases, plan or small_plan()[0], "3d_fullres", folder, **options)


def times(folder):
    return {p.parent.name: p.stat().st_mtime_ns for p in folder.glob("*/case.json")}


def test_patches_are_read_as_they_were_prepared(cases, tmp_path):
    store = prepare(cases, tmp_path / "store")
    assert store.names == ("c0", "c1", "c2")
    case = store.case("c1")
    data, seg = case.read((0, 0, 0), case.shape)
    assert data.shape == (1, *case.shape)
    assert set(np.unique(seg)) == {0, 1, 2}
    patch, _ = case.read((-2, 3, 4), (5, 9, 99))
    assert np.array_equal(patch, data[:, 0:5, 3:9, 4:])


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_cases_that_are_open_can_be_read_in_another_process(cases, tmp_path, monkeypatch, small):
    monkeypatch.setattr(stored_case, "_SMALL_BYTES", small)
    store = prepare(cases, tmp_path / "store")
    here = store.case("c1").read((1, 2, 3), (9, 9, 9))
    assert isinstance(store.case("c1")._data, np.ndarray) is bool(small)
    forked = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    spawned = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with forked, spawned:
        for pool in (forked, spawned):
            there = pool.submit(read_box, store, "c1").result()
            assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))


def read_box(store, name):
    return store.case(name).read((1, 2, 3), (9, 9, 9))


def test_only_the_latest_cases_stay_open(cases, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_OPEN", 2)
    store = prepare(cases, tmp_path / "store")
    first = store.case("c0")
    assert store.case("c0") is first
    for name in ("c1", "c2"):
        store.case(name)
    assert store.case("c0") is not first
    again = copy.copy(store)  # as pickle does it
    assert again == store
    assert not again._open


def test_locations_lie_in_their_class(cases, tmp_path):
    case = prepare(cases, tmp_path / "store").case("c0")
    _, seg = case.read((0, 0, 0), case.shape)
    assert set(case.locations) == {1, 2}
    for value, places in case.locations.items():
        assert np.all(seg[tuple(places.T)] == value)
        assert len(places) == (seg == value).sum()


def test_what_is_unchanged_is_kept_and_what_changed_is_made_anew(cases, tmp_path):
    folder = tmp_path / "store"
    prepare(cases, folder)
    first = times(folder)
    prepare(cases, folder)
    assert times(folder) == first
    volume = io.read_volume(cases[1].images)
    changed = Volume(array=volume.array + 1, geometry=volume.geometry)
    io.write_volume(changed, cases[1].images[0])
    prepare(cases, folder)
    again = times(folder)
    assert [name for name in first if again[name] != first[name]] == ["c1"]


def test_another_spacing_makes_all_anew(cases, tmp_path):
    folder = tmp_path / "store"
    prepare(cases, folder)
    plan, configuration = small_plan()
    coarse = dataclasses.replace(configuration, spacing_mm=(2.0, 2.0, 2.0))
    store = prepare(cases, folder, dataclasses.replace(plan, configurations=(coarse,)))
    assert store.case("c0").shape == (6, 6, 7)


def test_a_half_written_case_is_made_anew(cases, tmp_path):
    folder = tmp_path / "store"
    prepare(cases, folder)
    (folder / "c2" / "case.json").write_text("{")
    (folder / ".tmp-1-c0").mkdir()
    assert prepare(cases, folder).case("c2").channels == 1
    assert not list(folder.glob(".tmp-*"))


def test_two_workers_prepare_the_same(cases, tmp_path):
    one = prepare(cases, tmp_path / "one")
    two = prepare(cases, tmp_path / "two", workers=2)
    for name in one.names:
        for a, b in zip(*(s.case(name).read((0,) * 3, (99,) * 3) for s in (one, two)), strict=True):
            assert np.array_equal(a, b)


def test_faulty_cases_are_all_named_and_the_others_kept(cases, tmp_path):
    for case in cases[:2]:
        case.images[0].write_bytes(b"not an image")
    with pytest.raises(FedNNUNetError) as caught:
        prepare(cases, tmp_path / "store")
    assert "c0" in str(caught.value)
    assert "c1" in str(caught.value)
    assert Store.open(tmp_path / "store").names == ("c2",)


def test_a_missing_file_is_named(cases, tmp_path):
    cases[0].images[0].unlink()
    with pytest.raises(DataError, match=r"c0_0000\.nii\.gz is missing"):
        prepare(cases[:1], tmp_path / "store")


def test_cases_of_every_kind_are_prepared_with_what_is_known_of_them(tmp_path):
    plan = small_plan(task=small_task())[0]
    cases = read_dataset(write_site(tmp_path / "site"), TASK).cases
    store = prepare(cases, tmp_path / "store", plan)
    found = {name: store.case(name) for name in store.names}
    segs = {name: case.read((0, 0, 0), case.shape)[1] for name, case in found.items()}
    assert set(np.unique(segs["scribble"])) == {UNKNOWN, 0, 1}
    assert set(np.unique(segs["box"])) == {0, 1, 2, 3}
    for name in ("image", "none"):
        assert set(np.unique(segs[name])) == {UNKNOWN} and not found[name].locations
    assert set(found["scribble"].locations) == {-1, 1}
    assert set(found["box"].locations) == {1, 2}


def test_a_case_is_prepared_again_if_what_is_known_of_it_changes(tmp_path):
    plan = small_plan(task=small_task())[0]
    site = write_site(tmp_path / "site")

    def keys():
        return {c.name: case_key(c, plan, "3d_fullres") for c in read_dataset(site, TASK).cases}

    before = keys()
    assert keys() == before
    changed = json.loads(json.dumps(BOXES))
    changed["cases"]["box"][0]["high"] = [7, 7, 8]
    (site / "boxes.json").write_text(json.dumps(changed))
    entries = {**ENTRIES, "scribble": {"kind": "scribble", "unmarked": 0}}
    write_header(site, supervision={"cases": entries})
    after = keys()
    assert {name for name in before if before[name] != after[name]} == {"box", "scribble"}
    whole, partial = (c for c in read_dataset(site, TASK).cases if c.name in ("full_0", "partial"))
    as_full = dataclasses.replace(partial, labels=whole.labels)
    assert case_key(as_full, plan, "3d_fullres") == after["partial"]
