"""Parts of a volume that fit into a memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fednnunet.dataset import Case
from fednnunet.errors import InputError
from fednnunet.inference.memory import Memory, case_bytes, network_bytes, row_parts
from fednnunet.inference.native import NativeGrid
from fednnunet.inference.sliding import Window
from fednnunet.io import write_volume
from fednnunet.planning.plan import Resampling
from fednnunet.volume import Geometry, Volume
from tests.inference.conftest import make_plan
from tests.inference.test_native import a_placement


def parts(memory: int) -> tuple[list[slice], int]:
    grid = NativeGrid.of(a_placement((40, 40, 20), (40, 60, 20)), Resampling())
    window = Window(np.zeros((1, 40, 40, 20), np.float32), (8, 8, 8))
    return row_parts(grid, window, 10, memory)


def test_a_volume_is_one_part_if_it_fits() -> None:
    found, need = parts(10**9)
    assert found == [slice(0, 60)] and 0 < need < 4 * 10 * 40 * 40 * 20


def test_with_less_memory_there_are_more_parts_that_cover_all_rows() -> None:
    _, whole = parts(10**9)
    found, need = parts(whole // 2)
    assert 2 <= len(found) <= 4 and need <= whole // 2
    assert [row for part in found for row in range(part.start, part.stop)] == list(range(60))


def test_parts_are_no_smaller_than_half_a_patch() -> None:
    found, need = parts(1)
    assert len(found) == 10 and need > 1


def test_the_memory_is_what_was_stated_or_what_is_free() -> None:
    assert Memory.of(2.0).total == 2**31
    assert Memory.of(0).total > 2**27
    assert Memory.of(1.0).left(10) < 2**30 - 10
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="memory_gib"):
            Memory.of(wrong)


def test_too_little_memory_says_how_much_is_needed() -> None:
    error = Memory.of(1.0).too_small(needed=2**31, left=2**29)
    assert "2.0 GiB at once" in error.what and "--memory-gib 2.5" in error.mend
    assert "end other programs" in Memory.of(0).too_small(2**31, 0).mend


def test_a_case_counts_by_its_header(tmp_path: Path) -> None:
    configuration = make_plan(spacing=(1.0, 1.0, 1.0)).configurations[0]
    path = tmp_path / "a_0000.nii.gz"
    geometry = Geometry(spacing_mm=(2.0, 1.0, 1.0))
    write_volume(Volume(array=np.zeros((1, 5, 6, 7), np.float32), geometry=geometry), path)
    case = Case(name="a", images=(path,), label=None, group="a")
    native, prepared = 5 * 6 * 7, 2 * 5 * 6 * 7
    assert case_bytes(case, configuration) == 4 * (2 * native + prepared + 2 * prepared)
    path.write_bytes(b"no image")
    assert case_bytes(case, configuration) == 0


def test_a_batch_of_tiles_needs_as_much_as_its_tiles() -> None:
    configuration = make_plan().configurations[0]
    one = network_bytes(configuration, 3, 1)
    assert one == 4 * (6 * 4 + 3 * 3) * 8**3 and network_bytes(configuration, 3, 4) == 4 * one
