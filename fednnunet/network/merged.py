"""Upsampling and the convolution after it as one convolution at the lower resolution.

Nothing but concatenation stands between a U-Net's transposed convolution and the convolution that
follows, so the two are one linear map: each of the (2, 2, 2) positions that a coarse voxel becomes
is a 2x2x2 convolution of coarse voxels, with kernels composed of both weights. That takes about
half of the operations, and the upsampled map is never written. The function and its parameters stay
what they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fednnunet.network.cpu import LAST, is_supported

_AXES = {(3, 2), (3, 1), (1, 1)}  # (kernel, stride) along one axis that can be composed


def is_worthwhile(below: Tensor, up: Tensor, weight: Tensor) -> bool:
    """Whether merging saves work: composing kernels must cost little compared with what is saved.

    `below` (b, i, ...) is the coarse map, `up` (i, c, strides...) the transposed convolution's
    weight and `weight` (o, c + s, kernel...) the convolution's.
    """
    kernel, stride = weight.shape[2:], up.shape[2:]
    if not is_supported(below) or any(
        pair not in _AXES for pair in zip(kernel, stride, strict=True)
    ):
        return False
    inputs, middle, outputs = up.shape[0], up.shape[1], weight.shape[0]
    taps = math.prod(_taps(k, s) for k, s in zip(kernel, stride, strict=True))
    phases, places = math.prod(stride), math.prod(kernel)
    voxels = len(below) * math.prod(below.shape[2:])
    separate = voxels * phases * middle * (inputs + places * outputs)
    merged = voxels * phases * taps * inputs * outputs
    composing = outputs * places * middle * inputs * phases
    return merged + 2 * composing < 0.8 * separate


@torch.compiler.disable  # torch 2.13 cannot compile it, and it has little to gain
def upsample_convolve(
    below: Tensor, skip: Tensor, up: Tensor, up_bias: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """`conv(cat(conv_transpose(below, up, up_bias), skip), weight, bias)`, stride 1, padded.

    `below` (b, i, z, y, x), `skip` (b, s, z * strides...), result (b, o, z * strides...); in 2D
    without z.
    """
    kernel, stride = weight.shape[2:], up.shape[2:]
    middle = up.shape[1]
    convolve = F.conv3d if below.ndim == 5 else F.conv2d
    padding = tuple(k // 2 for k in kernel)
    direct = convolve(skip, weight[:, middle:], bias, padding=padding)
    mixed = torch.cat((up, up_bias.view(1, -1, *[1] * len(stride)).expand(1, -1, *stride)))
    kernels = _compose(weight[:, :middle], mixed)  # (phases * o, i + 1, taps...)
    coarse = convolve(below, kernels[:, :-1], padding=padding)
    taps = kernels[:, -1].flatten(1)  # what the bias of `up` adds where a tap lies inside
    shift = _taps_inside(below, kernels.shape[2:], padding) @ taps.t()
    coarse = _AddToAll.apply(coarse, shift)
    out: Tensor = _Interleave.apply(direct, coarse, tuple(stride))
    return out


def _taps(kernel: int, stride: int) -> int:
    return 2 if stride == 2 else kernel


def _selection(kernel: int, stride: int, like: Tensor) -> Tensor:
    """(kernel, stride, phases, taps): which tap of which phase a pair of weights belongs to."""
    table = like.new_zeros(kernel, stride, stride, _taps(kernel, stride))
    for phase in range(stride):
        for place in range(kernel):
            fine = phase + place - kernel // 2
            coarse, part = divmod(fine, stride)
            tap = coarse + kernel // 2 - (phase if stride == 2 else 0)
            table[place, part, phase, tap] = 1
    return table


def _taps_inside(x: Tensor, kernel: Sequence[int], padding: Sequence[int]) -> Tensor:
    """Where the taps of a padded convolution of x lie in x, as 1 and 0: (voxels of it, taps)."""
    table = x.new_ones(1, 1)
    for edge, k, pad in zip(x.shape[2:], kernel, padding, strict=True):
        places = torch.arange(edge + 2 * pad - k + 1)[:, None] + torch.arange(k) - pad
        table = torch.kron(table, ((places >= 0) & (places < edge)).to(x.dtype))
    return table


def _compose(weight: Tensor, up: Tensor) -> Tensor:
    """Kernels of the merged convolution from weight (o, c, k...) and up (i, c, s...)."""
    outputs, middle, *kernel = weight.shape
    inputs, _, *stride = up.shape
    product = weight.movedim(1, -1).reshape(-1, middle) @ up.transpose(0, 1).reshape(middle, -1)
    product = product.view(outputs, *kernel, inputs, *stride)
    axes = len(kernel)
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True)):
        # the next kernel axis is always 1, its stride axis the first after `inputs`
        at = 1 + (axes - axis) + 1
        table = _selection(k, s, product)
        product = torch.tensordot(product, table, dims=([1, at], [0, 1]))
    # (o, i, phase z, tap z, phase y, tap y, ...) -> (phases..., o, i, taps...)
    phases = list(range(2, 2 + 2 * axes, 2))
    taps = list(range(3, 3 + 2 * axes, 2))
    product = product.permute(*phases, 0, 1, *taps)
    return product.reshape(-1, inputs, *product.shape[-axes:])


def _parts(coarse: Tensor, fine: Tensor, stride: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of views: where a phase lies in `coarse` and in `fine`."""
    outputs = fine.shape[1]
    pairs = []
    for index in range(math.prod(stride)):
        rest = index
        phase: list[int] = []
        for step in reversed(stride):
            rest, offset = divmod(rest, step)
            phase.insert(0, offset)
        edges = [edge // step for edge, step in zip(fine.shape[2:], stride, strict=True)]
        coarse_place = tuple(
            slice(p, p + n) if step == 2 else slice(None)
            for p, n, step in zip(phase, edges, stride, strict=True)
        )
        fine_place = tuple(slice(p, None, step) for p, step in zip(phase, stride, strict=True))
        channels = slice(index * outputs, (index + 1) * outputs)
        pairs.append(
            (
                coarse[(slice(None), channels, *coarse_place)],
                fine[(slice(None), slice(None), *fine_place)],
            )
        )
    return pairs


class _Interleave(torch.autograd.Function):
    """Add the phases of a coarse map to a fine one, in place."""

    @staticmethod
    def forward(ctx: Any, fine: Tensor, coarse: Tensor, stride: tuple[int, ...]) -> Tensor:
        for part, place in _parts(coarse, fine, stride):
            place.add_(part)
        ctx.stride, ctx.shape = stride, coarse.shape
        ctx.mark_dirty(fine)
        return fine

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        coarse = torch.empty(ctx.shape, dtype=grad.dtype, memory_format=LAST[grad.ndim]).zero_()
        for part, place in _parts(coarse, grad, ctx.stride):
            part.copy_(place)
        return grad, coarse, None


class _AddToAll(torch.autograd.Function):
    """Add one map (voxels, c) to every sample (b, c, ...), in place; backwards a matrix product."""

    @staticmethod
    def forward(ctx: Any, batch: Tensor, one: Tensor) -> Tensor:
        ctx.mark_dirty(batch)
        batch.movedim(1, -1).add_(one.view(1, *batch.shape[2:], -1))
        return batch

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        samples = grad.movedim(1, -1).reshape(len(grad), -1)
        total = samples.new_ones(1, len(samples)) @ samples
        return grad, total.view(-1, grad.shape[1])
