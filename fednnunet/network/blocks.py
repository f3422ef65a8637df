"""The pieces of a U-Net: convolution with normalisation, residual block, learnt upsampling.

Tensors are (b, c, z, y, x), or (b, c, y, x) in 2D.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fednnunet.network import cpu, cuda

SLOPE = 0.01  # of the leaky rectifier
EPS = 1e-5

Norm = Literal["instance", "batch"]

CONV: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
UP: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}


class InstanceNorm(nn.Module):
    """Instance normalisation with a learnt scale and shift per channel (Ulyanov et al. 2016).

    On a CPU it runs as group normalisation with one channel a group: the same function, but torch's
    kernel for that reads channels_last tensors in place, where `instance_norm` copies them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each sample's channels over their voxels."""
        if x.device.type == "cpu":
            return F.group_norm(x, self.channels, self.weight, self.bias, EPS)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=EPS)


def make_norm(norm: Norm, channels: int, axes: int) -> nn.Module:
    """The plan's normalisation layer for `axes` spatial axes."""
    return InstanceNorm(channels) if norm == "instance" else BATCH_NORM[axes](channels, eps=EPS)


class ConvNorm(nn.Module):
    """Convolution, normalisation and, unless `linear`, a leaky rectifier."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        norm: Norm,
        *,
        linear: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        axes = len(kernel)
        padding = tuple(k // 2 for k in kernel)
        conv: Any = CONV[axes]
        self.conv = conv(inputs, outputs, tuple(kernel), tuple(stride), padding, bias=bias)
        self.norm = make_norm(norm, outputs, axes)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, ...) to (b, outputs, ...), smaller by the stride."""
        return self.finish(self.conv(x))

    def finish(self, x: Tensor) -> Tensor:
        """What follows the convolution: normalisation and rectifier, of (b, outputs, ...)."""
        if isinstance(self.norm, InstanceNorm) and cpu.is_supported(x):
            slope = 1.0 if self.linear else SLOPE
            return cpu.norm_rectify(x, self.norm.weight, self.norm.bias, EPS, slope)
        if isinstance(self.norm, InstanceNorm) and cuda.is_supported(x):
            slope = 1.0 if self.linear else SLOPE
            return cuda.norm_rectify(x, self.norm.weight, self.norm.bias, EPS, slope)
        x = self.norm(x)
        return x if self.linear else F.leaky_relu(x, SLOPE, inplace=True)


class Residual(nn.Module):
    """Two convolutions and a skip (He et al. 2016, with the skip of ResNet-D, He et al. 2019).

    The skip averages over the stride, then maps to the new number of features if that changes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        norm: Norm,
    ) -> None:
        super().__init__()
        ones = (1,) * len(kernel)
        self.stride = tuple(stride)
        self.first = ConvNorm(inputs, outputs, kernel, stride, norm)
        self.second = ConvNorm(outputs, outputs, kernel, ones, norm, linear=True)
        self.skip: nn.Module = nn.Identity()
        if inputs != outputs:
            self.skip = ConvNorm(inputs, outputs, ones, ones, norm, linear=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, ...) to (b, outputs, ...), smaller by the stride."""
        skipped = x
        if any(step > 1 for step in self.stride):
            pool = F.avg_pool3d if len(self.stride) == 3 else F.avg_pool2d
            skipped = pool(x, self.stride, self.stride)
        return F.leaky_relu(self.second(self.first(x)) + self.skip(skipped), SLOPE, inplace=True)
