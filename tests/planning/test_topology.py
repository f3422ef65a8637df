"""Strides, kernels and the patch size that fits them."""

from __future__ import annotations

from fednnunet.planning.topology import plan_topology


def test_a_thick_axis_is_pooled_later_and_keeps_a_flat_kernel() -> None:
    topology = plan_topology((5.0, 0.7, 0.7), (24, 300, 300))
    assert topology.kernels[0] == (1, 3, 3) and topology.strides[1] == (1, 2, 2)
    assert topology.kernels[-1] == (3, 3, 3)
    assert all(p % d == 0 for p, d in zip(topology.patch_vox, topology.divisor, strict=True))
    assert "not z, which is 7.14 times as coarse" in topology.remarks[0]
