"""The same functions as torch's, in forms that a CPU runs faster on channels_last tensors.

Measured against torch 2.13 on two cores: the backward pass of torch's normalisation kernels is
bound by strided memory there, a transposed convolution whose kernel is its stride and a 1x1
convolution miss the fast kernels and are one matrix product each.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def suits(x: Tensor) -> bool:
    """Whether the forms here are to be used for `x`: on a CPU, in float32, channels last."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.is_contiguous(memory_format=_LAST[x.ndim])
    )


def norm_rectify(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    """Instance normalisation and leaky rectifier of x (b, c, ...), in one step backwards."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        normal = F.group_norm(x, len(weight), weight, bias, eps)
        return F.leaky_relu(normal, slope, inplace=True)
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
        F.leaky_relu(y, slope, inplace=True)
        ctx.save_for_backward(x, y, weight, mean, rstd)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, y, weight, mean, rstd = ctx.saved_tensors
        g = torch.ops.aten.leaky_relu_backward(grad, y, ctx.slope, True)
        g = g.contiguous(memory_format=_LAST[x.ndim])
        rows, inputs = _rows(g), _rows(x)  # (b, voxels, c)
        voxels = rows.shape[1]
        # sums over voxels as matrix products, which need no temporary map
        total = torch.bmm(rows.new_ones(1, 1, 1).expand(len(rows), 1, voxels), rows)[:, 0]
        product = torch.bmm(rows.transpose(1, 2), inputs).diagonal(dim1=1, dim2=2)
        slant = (product - mean * total) * rstd  # of the normalised values, (b, c)
        scale = weight * rstd
        by_x = -scale * rstd * slant / voxels
        shift = -scale * total / voxels - by_x * mean
        out = torch.addcmul(shift[:, None], inputs, by_x[:, None])
        out.addcmul_(rows, scale[:, None])
        return _maps(out, x.shape), slant.sum(0), total.sum(0), None, None


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
    """(b, c, ...) in channels last, seen as (b, voxels, c)."""
    return x.movedim(1, -1).view(len(x), -1, x.shape[1])


def _maps(rows: Tensor, shape: torch.Size) -> Tensor:
    """The way back from `_rows`."""
    return rows.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
