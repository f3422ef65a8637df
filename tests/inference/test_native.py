"""Resampling by parts equals resampling at once, bit for bit, and the package's own resampling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fednnunet.inference.native import Along, Block, NativeGrid
from fednnunet.planning.plan import Resampling
from fednnunet.preprocess.pipeline import Placement
from fednnunet.preprocess.resample import resample_logits
from fednnunet.volume import Geometry


def a_placement(
    prepared: tuple[int, int, int], native: tuple[int, int, int], thick: bool = False
) -> Placement:
    spacing = (5.0 if thick else 1.0, 1.0, 1.0)
    target = tuple(s * n / p for s, n, p in zip(spacing, native, prepared, strict=True))
    return Placement(
        transpose=(0, 1, 2),
        native_shape=native,
        box=((0, native[0]), (0, native[1]), (0, native[2])),
        spacing_mm=spacing,
        target_mm=(target[0], target[1], target[2]),
        prepared_shape=prepared,
        geometry=Geometry(spacing_mm=spacing),
    )


def native_values(grid: NativeGrid, planes: np.ndarray, rows: slice, step: int) -> np.ndarray:
    """All values of some native rows, `step` of them at a time."""
    found = []
    for out, into in grid.chunks():
        parts = []
        for start in range(rows.start, rows.stop, step):
            some = slice(start, min(start + step, rows.stop))
            block = Block(
                planes=torch.from_numpy(planes[:, into, grid.rows_into(some)].copy()),
                out=out,
                rows=some,
                first_row=grid.rows_into(some).start,
            )
            channels = range(len(planes))
            parts.append(grid.values(block, channels, some, slice(0, grid.x.new)).numpy())
        found.append(np.concatenate(parts, axis=2))
    return np.concatenate(found, axis=1)


shapes = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=40, deadline=None)
@given(prepared=shapes, native=shapes, step=st.integers(1, 12), thick=st.booleans())
def test_parts_equal_the_whole_bit_for_bit(prepared, native, step, thick):
    placement = a_placement(prepared, native, thick)
    grid = NativeGrid.of(placement, Resampling())
    planes = np.random.default_rng(0).normal(size=(2, *prepared)).astype(np.float32)
    rows = slice(0, native[1])
    whole = native_values(grid, planes, rows, native[1])
    assert np.array_equal(native_values(grid, planes, rows, step), whole)
    known = resample_logits(planes, placement.target_mm, placement.spacing_mm, native)
    np.testing.assert_allclose(whole, known, atol=2e-5)


def test_a_thick_axis_takes_the_nearest_slice() -> None:
    grid = NativeGrid.of(a_placement((9, 6, 6), (3, 6, 6), thick=True), Resampling())
    assert grid.z.share is None and grid.z.low.tolist() == [1, 4, 7]
    assert [into for _, into in grid.chunks()] == [slice(1, 8)]


def test_a_cubic_spline_needs_the_whole_volume() -> None:
    placement = a_placement((5, 6, 7), (9, 8, 6))
    rules = replace(Resampling(), logits_order=3)
    grid = NativeGrid.of(placement, rules)
    assert grid.whole and grid.spare == 5 and len(list(grid.chunks())) == 1
    planes = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    found = native_values(grid, planes, slice(0, 8), 8)
    known = resample_logits(planes, placement.target_mm, placement.spacing_mm, (9, 8, 6), order=3)
    np.testing.assert_array_equal(found, known)


@pytest.mark.parametrize(("old", "new"), [(5, 5), (7, 20), (20, 7), (1, 4), (4, 1)])
@pytest.mark.parametrize("order", [0, 1])
def test_voxels_that_are_needed_are_named(old: int, new: int, order: int) -> None:
    along = Along.of(old, new, order)
    values = torch.arange(old, dtype=torch.float32)
    everything = slice(0, new)
    whole = along.mix(values[along.into(everything)], 0, everything)
    for start in range(new):
        out = slice(start, min(start + 3, new))
        assert torch.equal(along.mix(values[along.into(out)], 0, out), whole[out])


def test_an_unchanged_grid_changes_nothing() -> None:
    grid = NativeGrid.unchanged((3, 4, 5))
    planes = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    assert np.array_equal(native_values(grid, planes, slice(0, 4), 2), planes)
