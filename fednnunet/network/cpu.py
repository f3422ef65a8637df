"""The same functions as torch's, in forms that a CPU runs faster on channels_last tensors.

Measured against torch 2.13 on two cores: the backward pass of torch's normalisation kernels is
bound by strided memory there (in bfloat16 it took 60 % of a training step, and it crashes on small
maps whose gradient nobody asks for), a transposed convolution whose kernel is its stride and a 1x1
convolution miss the fast kernels and are one matrix product each.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_supported(x: Tensor) -> bool:
    """Whether the forms here are to be used for `x`: on a CPU, channels last, not float16."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.is_contiguous(memory_format=LAST[x.ndim])
    )


def norm_rectify(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    """Instance normalisation and leaky rectifier of x (b, c, ...), in one step backwards.

    A `slope` of 1 is no rectifier at all.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        normal = F.group_norm(x, len(weight), weight, bias, eps)
        return normal if slope == 1 else F.leaky_relu(normal, slope, inplace=True)
    out: Tensor = _NormRectify.apply(x, weight, bias, eps, slope)
    return out


class _NormRectify(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float
    ) -> Tensor:
        b, c = x.shape[:2]
        voxels = math.prod(x.shape[2:])
        y, mean, rstd = torch.native_group_norm(x, weight, bias, b, c, voxels, c, eps)
        if slope != 1:
            F.leaky_relu(y, slope, inplace=True)
        ctx.save_for_backward(x, y if slope != 1 else None, weight, mean, rstd)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, y, weight, mean, rstd = ctx.saved_tensors
        g = grad if y is None else torch.ops.aten.leaky_relu_backward(grad, y, ctx.slope, True)
        g = g.contiguous(memory_format=LAST[x.ndim])
        rows, inputs = _rows(g), _rows(x)  # (b, voxels, c)
        voxels = rows.shape[1]
        total, product = _sums(rows, inputs)
        slant = (product - mean * total) * rstd  # of the normalised values, (b, c)
        scale = weight * rstd
        by_x = -scale * rstd * slant / voxels
        shift = -scale * total / voxels - by_x * mean
        shift, by_x, scale = (part[:, None].to(x.dtype) for part in (shift, by_x, scale))
        out = torch.addcmul(shift, inputs, by_x)
        out.addcmul_(rows, scale)
        return _maps(out, x.shape), slant.sum(0), total.sum(0), None, None


def _sums(rows: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over voxels of rows and of rows * inputs (b, voxels, c), as (b, c) in float32.

    Matrix products need no temporary map; each gives the sum over a part of the voxels, so that
    those of bfloat16, which are rounded, add up in float32.
    """
    b, voxels, c = rows.shape
    parts = math.gcd(voxels, 64)
    rows, inputs = (x.view(b * parts, -1, c) for x in (rows, inputs))
    ones = rows.new_ones(1, 1, 1).expand(len(rows), 1, rows.shape[1])
    total = torch.bmm(ones, rows)[:, 0]
    product = torch.bmm(rows.transpose(1, 2), inputs).diagonal(dim1=1, dim2=2)
    return total.float().view(b, parts, c).sum(1), product.float().view(b, parts, c).sum(1)


def upsample(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Transposed convolution with a stride equal to its kernel; weight (inputs, outputs, k...)."""
    steps, axes = weight.shape[2:], x.ndim - 2
    outputs = weight.shape[1]
    matrix = weight.movedim(1, -1).reshape(len(weight), -1)
    blocks = (x.movedim(1, -1) @ matrix).view(len(x), *x.shape[2:], *steps, outputs)
    order = [0]
    for axis in range(axes):
        order += [1 + axis, 1 + axes + axis]
    size = [edge * step for edge, step in zip(x.shape[2:], steps, strict=True)]
    whole = blocks.permute(*order, 1 + 2 * axes).reshape(len(x), *size, outputs)
    return (whole if bias is None else whole + bias).movedim(-1, 1)


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution with a kernel of one voxel; weight (outputs, inputs, 1...)."""
    return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)


def _rows(x: Tensor) -> Tensor:
    """(b, c, ...) in channels last, as a view (b, voxels, c)."""
    return x.movedim(1, -1).view(len(x), -1, x.shape[1])


def _maps(rows: Tensor, shape: torch.Size) -> Tensor:
    """The way back from `_rows`."""
    return rows.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
