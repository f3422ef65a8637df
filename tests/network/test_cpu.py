from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fednnunet.network import cpu


def maps(axes, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, *(4, 6, 5)[:axes], generator=generator, dtype=torch.float32)
    return (3 + 2 * x).contiguous(memory_format=cpu.LAST[x.ndim])


def assert_same_with_gradients(ours, theirs, x, *parameters):
    """Values and all gradients of two functions are the same."""
    results = []
    for function in (ours, theirs):
        leaves = [
            t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, *parameters)
        ]
        out = function(*leaves)
        weights = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).sin()
        (out * weights).sum().backward()
        results.append((out.detach(), *(leaf.grad for leaf in leaves)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slope", [0.01, 1.0])
@pytest.mark.parametrize("axes", [2, 3])
def test_normalisation_and_rectifier_are_torchs(axes, slope):
    assert_same_with_gradients(
        lambda x, w, b: cpu.norm_rectify(x, w, b, 1e-5, slope),
        lambda x, w, b: F.leaky_relu(F.instance_norm(x, weight=w, bias=b), slope),
        maps(axes),
        torch.tensor([0.5, -1.5, 2.0]),
        torch.tensor([0.1, 0.0, -0.3]),
    )


@pytest.mark.parametrize(("axes", "steps"), [(2, (2, 2)), (3, (2, 2, 2)), (3, (1, 2, 2))])
def test_upsampling_is_a_transposed_convolution(axes, steps):
    theirs = F.conv_transpose3d if axes == 3 else F.conv_transpose2d
    assert_same_with_gradients(
        cpu.upsample,
        lambda x, w, b: theirs(x, w, b, stride=steps),
        maps(axes),
        torch.randn(3, 4, *steps),
        torch.randn(4),
    )


@pytest.mark.parametrize("axes", [2, 3])
def test_a_pointwise_convolution_is_torchs(axes):
    theirs = F.conv3d if axes == 3 else F.conv2d
    weight, bias = torch.randn(5, 3, *(1,) * axes), torch.randn(5)
    assert_same_with_gradients(cpu.pointwise, theirs, maps(axes), weight, bias)


@pytest.mark.parametrize("axes", [2, 3])
def test_bfloat16_loses_what_its_rounding_loses(axes):
    """Against float32 of the same rounded input: sums over voxels must not lose more."""
    rounded = maps(axes, channels=16).bfloat16()
    weight, bias = torch.linspace(-1, 2, 16), torch.linspace(-0.3, 0.3, 16)
    results = []
    for x in (rounded, rounded.float()):
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
        y = cpu.norm_rectify(*leaves, 1e-5, 0.01)
        assert y.dtype == x.dtype
        (y.float() * torch.arange(y.numel()).reshape(y.shape).sin()).sum().backward()
        results.append([y.detach().float(), *(leaf.grad.float() for leaf in leaves)])
    for short, exact in zip(*results, strict=True):
        torch.testing.assert_close(short, exact, rtol=2e-2, atol=2e-2 * float(exact.abs().max()))


def test_a_normalisation_whose_input_needs_no_gradient_is_trained_in_bfloat16():
    x = maps(3, channels=4).bfloat16()
    weight, bias = torch.ones(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    cpu.norm_rectify(x, weight, bias, 1e-5, 0.01).float().sum().backward()
    assert weight.grad.isfinite().all() and bias.grad.abs().sum() > 0


def test_they_are_used_for_channels_last_on_a_cpu_alone():
    x = maps(3)
    assert cpu.is_supported(x)
    assert cpu.is_supported(x.bfloat16())
    assert not cpu.is_supported(x.half())
    assert not cpu.is_supported(x.contiguous())
    assert not cpu.is_supported(x.to("meta"))


def test_results_stay_channels_last():
    x = maps(3).requires_grad_()
    y = cpu.norm_rectify(x, torch.ones(3), torch.zeros(3), 1e-5, 0.01)
    up = cpu.upsample(y, torch.randn(3, 4, 2, 2, 2), None)
    assert all(t.is_contiguous(memory_format=torch.channels_last_3d) for t in (y, up))
