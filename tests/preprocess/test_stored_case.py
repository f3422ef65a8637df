from __future__ import annotations

import numpy as np
import pytest

from fednnunet.errors import InputError
from fednnunet.preprocess.pipeline import Placement, Prepared
from fednnunet.preprocess.stored_case import (
    StoredCase,
    chunk_shape,
    clear_leftovers,
    stored_key,
    write_case,
)
from fednnunet.volume import Geometry

SHAPE = (5, 6, 7)


def prepared(seed=0):
    rng = np.random.default_rng(seed)
    placement = Placement(
        transpose=(0, 1, 2),
        native_shape=SHAPE,
        box=((0, 5), (0, 6), (0, 7)),
        spacing_mm=(1.0, 1.0, 1.0),
        target_mm=(1.0, 1.0, 1.0),
        prepared_shape=SHAPE,
        geometry=Geometry(spacing_mm=(1.0, 1.0, 1.0)),
    )
    data = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    seg = rng.integers(0, 3, SHAPE).astype(np.int16)
    return Prepared(data=data, seg=seg, placement=placement)


def write(folder, case, key="k", name="c"):
    places = np.argwhere(case.seg == 1)
    table = np.concatenate([np.ones((len(places), 1), int), places], 1).astype(np.int32)
    write_case(folder, name, case, key=key, patch_vox=(4, 4, 4), locations=table)


def test_a_case_comes_back_as_it_was_written(tmp_path):
    whole = prepared()
    write(tmp_path, whole)
    case = StoredCase(tmp_path / "c")
    image, seg = case.read((0, 0, 0), SHAPE)
    assert (case.name, case.shape, case.channels) == ("c", SHAPE, 2)
    assert case.placement == whole.placement
    assert np.array_equal(image, whole.data)
    assert np.array_equal(seg, whole.seg)
    assert np.array_equal(case.locations[1], np.argwhere(whole.seg == 1))


def test_a_case_is_replaced_whole_and_nothing_temporary_stays(tmp_path):
    write(tmp_path, prepared(0))
    write(tmp_path, prepared(1), key="new")
    assert stored_key(tmp_path, "c") == "new"
    assert np.array_equal(StoredCase(tmp_path / "c").read((0, 0, 0), SHAPE)[0], prepared(1).data)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_missing_or_unreadable_record_has_no_key(tmp_path):
    assert stored_key(tmp_path, "c") is None
    write(tmp_path, prepared())
    (tmp_path / "c" / "case.json").write_text("{")
    assert stored_key(tmp_path, "c") is None


@pytest.mark.parametrize("name", ["data.b2nd", "seg.b2nd", "locations.npy"])
def test_a_damaged_file_is_named(tmp_path, name):
    write(tmp_path, prepared())
    (tmp_path / "c" / name).write_bytes(b"damaged")
    case = StoredCase(tmp_path / "c")
    with pytest.raises(InputError, match=f"{name} of a prepared case is damaged"):
        case.read((0, 0, 0), SHAPE)
        _ = case.locations


def test_leftovers_of_an_interrupted_run_are_removed_and_cases_kept(tmp_path):
    write(tmp_path, prepared())
    (tmp_path / ".tmp-77-d").mkdir()
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_chunks_have_the_size_of_a_patch_unless_it_is_too_large():
    assert chunk_shape((50, 60, 70), (32, 64, 16), 1 << 20, 4) == (32, 60, 16)
    assert chunk_shape((50, 60, 70), (32, 32, 32), 32 * 32 * 32, 4) == (16, 16, 32)
