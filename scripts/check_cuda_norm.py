"""Instance normalisation and leaky rectifier as Triton kernels for channels last: a candidate.

torch's instance normalisation copies a channels-last map to channels first, and the convolution
after it copies it back. These kernels read and write channels last, in two passes forwards and two
backwards, and recompute what torch would keep. With TRITON_INTERPRET=1 they run on a CPU.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK, PROGRAMS, MOST_SPLITS = 4096, 1024, 64


@triton.jit
def _sums(x_at, parts_at, voxels, channels, per, splits, ROWS: tl.constexpr, WIDTH: tl.constexpr):  # noqa: N803
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    there = c < channels
    first = sample.to(tl.int64) * voxels * channels
    total = tl.zeros((ROWS, WIDTH), tl.float32)
    square = tl.zeros((ROWS, WIDTH), tl.float32)
    for offset in range(0, per, ROWS):
        v = split * per + offset + tl.arange(0, ROWS)
        mask = (v < voxels)[:, None] & there[None, :]
        place = first + v[:, None].to(tl.int64) * channels + c[None, :]
        x = tl.load(x_at + place, mask=mask, other=0.0).to(tl.float32)
        total += x
        square += x * x
    out = parts_at + (sample * splits + split) * 2 * channels + c
    tl.store(out, tl.sum(total, 0), mask=there)
    tl.store(out + channels, tl.sum(square, 0), mask=there)


@triton.jit
def _normalise(
    x_at, parts_at, weight_at, bias_at, y_at, moments_at,
    voxels, channels, per, splits, eps, slope,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, SPLITS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    there = c < channels
    s = tl.arange(0, SPLITS)
    known = (s < splits)[:, None] & there[None, :]
    table = parts_at + (sample * splits + s[:, None]) * 2 * channels + c[None, :]
    mean = tl.sum(tl.load(table, mask=known, other=0.0), 0) / voxels
    square = tl.sum(tl.load(table + channels, mask=known, other=0.0), 0) / voxels
    rstd = 1.0 / tl.sqrt(tl.maximum(square - mean * mean, 0.0) + eps)
    if split == 0:
        out = moments_at + sample * 2 * channels + c
        tl.store(out, mean, mask=there)
        tl.store(out + channels, rstd, mask=there)
    scale = tl.load(weight_at + c, mask=there, other=0.0).to(tl.float32) * rstd
    shift = tl.load(bias_at + c, mask=there, other=0.0).to(tl.float32) - mean * scale
    first = sample.to(tl.int64) * voxels * channels
    for offset in range(0, per, ROWS):
        v = split * per + offset + tl.arange(0, ROWS)
        mask = (v < voxels)[:, None] & there[None, :]
        place = first + v[:, None].to(tl.int64) * channels + c[None, :]
        x = tl.load(x_at + place, mask=mask, other=0.0).to(tl.float32)
        y = x * scale[None, :] + shift[None, :]
        y = tl.where(y > 0, y, y * slope)
        tl.store(y_at + place, y.to(y_at.dtype.element_ty), mask=mask)


@triton.jit
def _backward_sums(
    grad_at, x_at, moments_at, weight_at, bias_at, parts_at,
    voxels, channels, per, splits, slope,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,  # noqa: N803
):  # fmt: skip
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    there = c < channels
    moments = moments_at + sample * 2 * channels + c
    mean = tl.load(moments, mask=there, other=0.0)
    rstd = tl.load(moments + channels, mask=there, other=0.0)
    weight = tl.load(weight_at + c, mask=there, other=0.0).to(tl.float32)
    bias = tl.load(bias_at + c, mask=there, other=0.0).to(tl.float32)
    first = sample.to(tl.int64) * voxels * channels
    total = tl.zeros((ROWS, WIDTH), tl.float32)
    slant = tl.zeros((ROWS, WIDTH), tl.float32)
    for offset in range(0, per, ROWS):
        v = split * per + offset + tl.arange(0, ROWS)
        mask = (v < voxels)[:, None] & there[None, :]
        place = first + v[:, None].to(tl.int64) * channels + c[None, :]
        x = tl.load(x_at + place, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(grad_at + place, mask=mask, other=0.0).to(tl.float32)
        normal = (x - mean[None, :]) * rstd[None, :]
        g = tl.where(normal * weight[None, :] + bias[None, :] > 0, g, g * slope)
        total += g
        slant += g * normal
    out = parts_at + (sample * splits + split) * 2 * channels + c
    tl.store(out, tl.sum(total, 0), mask=there)
    tl.store(out + channels, tl.sum(slant, 0), mask=there)


@triton.jit
def _backward(
    grad_at, x_at, moments_at, weight_at, bias_at, parts_at, out_at,
    voxels, channels, per, splits, slope,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, SPLITS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    there = c < channels
    s = tl.arange(0, SPLITS)
    known = (s < splits)[:, None] & there[None, :]
    table = parts_at + (sample * splits + s[:, None]) * 2 * channels + c[None, :]
    total = tl.sum(tl.load(table, mask=known, other=0.0), 0) / voxels
    slant = tl.sum(tl.load(table + channels, mask=known, other=0.0), 0) / voxels
    moments = moments_at + sample * 2 * channels + c
    mean = tl.load(moments, mask=there, other=0.0)
    rstd = tl.load(moments + channels, mask=there, other=0.0)
    weight = tl.load(weight_at + c, mask=there, other=0.0).to(tl.float32)
    bias = tl.load(bias_at + c, mask=there, other=0.0).to(tl.float32)
    first = sample.to(tl.int64) * voxels * channels
    for offset in range(0, per, ROWS):
        v = split * per + offset + tl.arange(0, ROWS)
        mask = (v < voxels)[:, None] & there[None, :]
        place = first + v[:, None].to(tl.int64) * channels + c[None, :]
        x = tl.load(x_at + place, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(grad_at + place, mask=mask, other=0.0).to(tl.float32)
        normal = (x - mean[None, :]) * rstd[None, :]
        g = tl.where(normal * weight[None, :] + bias[None, :] > 0, g, g * slope)
        g = (g - total[None, :] - normal * slant[None, :]) * (weight * rstd)[None, :]
        tl.store(out_at + place, g.to(out_at.dtype.element_ty), mask=mask)


class _Grid:
    """How a map (b, c, ...) is divided among programs: by samples, voxels and channels."""

    def __init__(self, x: Tensor) -> None:
        self.samples, self.channels = x.shape[:2]
        self.voxels = math.prod(x.shape[2:])
        self.width = min(64, triton.next_power_of_2(self.channels))
        self.rows = BLOCK // self.width
        chunks = triton.cdiv(self.channels, self.width)
        blocks = triton.cdiv(self.voxels, self.rows)
        splits = max(1, min(MOST_SPLITS, blocks, PROGRAMS // (self.samples * chunks)))
        self.per = triton.cdiv(blocks, splits) * self.rows
        self.splits = triton.cdiv(self.voxels, self.per)
        self.programs = (self.samples, self.splits, chunks)

    def parts(self, like: Tensor) -> Tensor:
        """Room for two sums of every program, float32."""
        shape = (self.samples, self.splits, 2, self.channels)
        return torch.empty(shape, dtype=torch.float32, device=like.device)

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """What every kernel is told."""
        return self.voxels, self.channels, self.per, self.splits


class _NormRectify(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        grid = _Grid(x)
        sizes = {"ROWS": grid.rows, "WIDTH": grid.width}
        parts, y = grid.parts(x), torch.empty_like(x)
        moments = torch.empty((len(x), 2, grid.channels), dtype=torch.float32, device=x.device)
        _sums[grid.programs](x, parts, *grid.numbers, **sizes)
        splits = triton.next_power_of_2(grid.splits)
        _normalise[grid.programs](
            x, parts, weight, bias, y, moments, *grid.numbers, eps, slope, **sizes, SPLITS=splits
        )
        ctx.save_for_backward(x, weight, bias, moments)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, bias, moments = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        grid = _Grid(x)
        sizes = {"ROWS": grid.rows, "WIDTH": grid.width}
        parts, out = grid.parts(x), torch.empty_like(x)
        given = (grad, x, moments, weight, bias, parts)
        _backward_sums[grid.programs](*given, *grid.numbers, ctx.slope, **sizes)
        splits = triton.next_power_of_2(grid.splits)
        _backward[grid.programs](*given, out, *grid.numbers, ctx.slope, **sizes, SPLITS=splits)
        both = parts.sum((0, 1))
        return out, both[1].to(weight.dtype), both[0].to(bias.dtype), None, None


def norm_rectify(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    """Instance normalisation and leaky rectifier of x (b, c, z, y, x), channels last."""
    out: Tensor = _NormRectify.apply(x, weight, bias, eps, slope)
    return out
