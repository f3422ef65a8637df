"""What the finest segmentation head reads, caught while a network runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def capture_features(network: nn.Module, wanted: bool = True) -> Iterator[list[Tensor]]:
    """Gather the features (b, f, z, y, x) of every forward pass meanwhile; none if not `wanted`.

    They are the output of the finest decoder stage, at the image's resolution; in 2D without z.
    """
    seen: list[Tensor] = []
    if not wanted:
        yield seen
        return
    stage = network.get_submodule("decoder.0")
    handle = stage.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()
