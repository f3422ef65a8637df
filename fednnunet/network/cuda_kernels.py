# mypy: allow-untyped-defs
"""Triton kernels of instance normalisation with a leaky rectifier, for maps in channels last.

A map is read as rows of channels, (b, voxels, c). Programs are (sample, split of the voxels, chunk
of the channels); sums of all splits are added where they are used, so no launch is for them alone.
`parts` holds two sums of every program (b, splits, 2, c), `moments` mean and 1 / deviation
(b, 2, c), float32.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def forward_sums(
    x_at, parts_at, voxels, channels, per, splits, rows: tl.constexpr, width: tl.constexpr
):
    """Sums over voxels of x and of its square."""
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * width + tl.arange(0, width)
    there = c < channels
    first = sample.to(tl.int64) * voxels * channels
    total = tl.zeros((rows, width), tl.float32)
    square = tl.zeros((rows, width), tl.float32)
    for offset in range(0, per, rows):
        v = split * per + offset + tl.arange(0, rows)
        mask = (v < voxels)[:, None] & there[None, :]
        place = first + v[:, None].to(tl.int64) * channels + c[None, :]
        x = tl.load(x_at + place, mask=mask, other=0.0).to(tl.float32)
        total += x
        square += x * x
    out = parts_at + (sample * splits + split) * 2 * channels + c
    tl.store(out, tl.sum(total, 0), mask=there)
    tl.store(out + channels, tl.sum(square, 0), mask=there)


@triton.jit
def normalise(
    x_at, parts_at, weight_at, bias_at, y_at, moments_at,
    voxels, channels, per, splits, eps, slope,
    rows: tl.constexpr, width: tl.constexpr, places: tl.constexpr,
):  # fmt: skip
    """Moments from the sums, and x normalised, scaled, shifted and rectified."""
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * width + tl.arange(0, width)
    there = c < channels
    s = tl.arange(0, places)
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
    for offset in range(0, per, rows):
        v = split * per + offset + tl.arange(0, rows)
        mask = (v < voxels)[:, None] & there[None, :]
        place = first + v[:, None].to(tl.int64) * channels + c[None, :]
        x = tl.load(x_at + place, mask=mask, other=0.0).to(tl.float32)
        y = x * scale[None, :] + shift[None, :]
        y = tl.where(y > 0, y, y * slope)
        tl.store(y_at + place, y.to(y_at.dtype.element_ty), mask=mask)


@triton.jit
def backward_sums(
    grad_at, x_at, moments_at, weight_at, bias_at, parts_at,
    voxels, channels, per, splits, slope,
    rows: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Sums over voxels of the gradient before the rectifier, and of it times normalised x."""
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * width + tl.arange(0, width)
    there = c < channels
    moments = moments_at + sample * 2 * channels + c
    mean = tl.load(moments, mask=there, other=0.0)
    rstd = tl.load(moments + channels, mask=there, other=0.0)
    weight = tl.load(weight_at + c, mask=there, other=0.0).to(tl.float32)
    bias = tl.load(bias_at + c, mask=there, other=0.0).to(tl.float32)
    first = sample.to(tl.int64) * voxels * channels
    total = tl.zeros((rows, width), tl.float32)
    slant = tl.zeros((rows, width), tl.float32)
    for offset in range(0, per, rows):
        v = split * per + offset + tl.arange(0, rows)
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
def backward(
    grad_at, x_at, moments_at, weight_at, bias_at, parts_at, out_at,
    voxels, channels, per, splits, slope,
    rows: tl.constexpr, width: tl.constexpr, places: tl.constexpr,
):  # fmt: skip
    """The gradient by x."""
    sample, split = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * width + tl.arange(0, width)
    there = c < channels
    s = tl.arange(0, places)
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
    for offset in range(0, per, rows):
        v = split * per + offset + tl.arange(0, rows)
        mask = (v < voxels)[:, None] & there[None, :]
        place = first + v[:, None].to(tl.int64) * channels + c[None, :]
        x = tl.load(x_at + place, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(grad_at + place, mask=mask, other=0.0).to(tl.float32)
        normal = (x - mean[None, :]) * rstd[None, :]
        g = tl.where(normal * weight[None, :] + bias[None, :] > 0, g, g * slope)
        g = (g - total[None, :] - normal * slant[None, :]) * (weight * rstd)[None, :]
        tl.store(out_at + place, g.to(out_at.dtype.element_ty), mask=mask)
