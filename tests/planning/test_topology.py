"""Strides, kernels and the patch size that fits them."""

from __future__ import annotations

import pytest

from fednnunet.planning.topology import plan_topology


def test_a_thick_axis_is_pooled_later_and_keeps_a_flat_kernel() -> None:
    topology = plan_topology((5.0, 0.7, 0.7), (24, 300, 300))
    assert topology.kernels[0] == (1, 3, 3) and topology.strides[1] == (1, 2, 2)
    assert topology.kernels[-1] == (3, 3, 3)
    assert all(p % d == 0 for p, d in zip(topology.patch_vox, topology.divisor, strict=True))
    assert "not z, which is 7.14 times as coarse" in topology.remarks[0]


def test_pooling_ends_at_the_smallest_edge() -> None:
    topology = plan_topology((1.0, 1.0, 1.0), (16, 16, 16))
    assert topology.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    assert topology.kernels == ((3, 3, 3),) * 3
    assert (topology.divisor, topology.patch_vox) == ((4, 4, 4), (16, 16, 16))


def test_a_patch_is_padded_to_its_divisor() -> None:
    topology = plan_topology((1.0, 1.0, 1.0), (17, 16, 30))
    assert topology.divisor == (4, 4, 4) and topology.patch_vox == (20, 16, 32)


@pytest.mark.parametrize(("edge", "strides"), [(11, ((1, 1),)), (12, ((1, 1), (2, 1)))])
def test_an_axis_alone_is_halved_only_while_it_is_long(
    edge: int, strides: tuple[tuple[int, ...], ...]
) -> None:
    topology = plan_topology((1.0, 1.0), (edge, 7))
    assert topology.strides == strides
    assert len(topology.remarks) == len(strides) - 1
    assert all("not x, which has only 7 voxels left" in remark for remark in topology.remarks)
