"""How the kernels for a GPU are divided among programs, and when they are used."""

from __future__ import annotations

import pytest
import torch

from fednnunet.network import cuda


@pytest.mark.parametrize("shape", [(1, 32, 5, 6, 7), (2, 320, 4, 6, 6), (9, 3, 64, 192, 192)])
def test_every_voxel_and_channel_has_a_program(shape: tuple[int, ...]) -> None:
    grid = cuda._Grid(torch.empty(shape, device="meta"))
    samples, splits, chunks = grid.programs
    assert samples == shape[0] and splits == grid.splits <= cuda.MAX_SPLITS
    assert grid.per * (splits - 1) < grid.voxels <= grid.per * splits
    assert grid.per % grid.rows == 0 and chunks * grid.width >= shape[1]


def test_a_cpu_keeps_its_own_forms() -> None:
    x = torch.empty(1, 4, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    with cuda.fused_kernels(True):
        assert not cuda.is_supported(x)
