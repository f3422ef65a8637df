"""The features that the finest segmentation head reads, captured while a network runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def capture_features(network: nn.Module, wanted: bool = True) -> Iterator[list[Tensor]]:
    """Collect the features (b, f, z, y, x) of every forward pass within the context, if `wanted`.

    They are the output of the finest decoder stage, at the image's resolution; in 2D without z.
    """
    captured: list[Tensor] = []
    if not wanted:
        yield captured
        return
    stage = network.get_submodule("decoder.0")
    handle = stage.register_forward_hook(lambda module, inputs, output: captured.append(output))
    try:
        yield captured
    finally:
        handle.remove()
