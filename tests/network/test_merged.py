from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fednnunet.network.cpu import LAST
from fednnunet.network.merged import is_worthwhile, upsample_convolve


def apart(below, skip, up, up_bias, weight, bias):
    axes = below.ndim - 2
    turn = F.conv_transpose3d if axes == 3 else F.conv_transpose2d
    conv = F.conv3d if axes == 3 else F.conv2d
    joined = torch.cat((turn(below, up, up_bias, stride=up.shape[2:]), skip), 1)
    return conv(joined, weight, bias, padding=[k // 2 for k in weight.shape[2:]])


def example(kernel, stride, inputs=5, middle=3, outputs=4, skips=2):
    axes, size = len(kernel), (3, 4, 2)[: len(kernel)]
    fine = [n * s for n, s in zip(size, stride, strict=True)]
    torch.manual_seed(0)
    shapes = (
        (2, inputs, *size),
        (2, skips, *fine),
        (inputs, middle, *stride),
        (middle,),
        (outputs, middle + skips, *kernel),
        (outputs,),
    )
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    tensors[0] = tensors[0].contiguous(memory_format=LAST[axes + 2])
    tensors[1] = tensors[1].contiguous(memory_format=LAST[axes + 2])
    return [t.requires_grad_() for t in tensors]


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((3, 3, 3), (2, 2, 2)),
        ((3, 3, 3), (1, 2, 2)),
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3), (2, 2)),
        ((3, 3), (1, 2)),
    ],
)
def test_it_is_the_two_layers_it_replaces(kernel, stride):
    tensors = example(kernel, stride)
    results = []
    for function in (upsample_convolve, apart):
        out = function(*tensors)
        (out * torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).sin()).sum().backward()
        results.append((out.detach(), *(t.grad.clone() for t in tensors)))
        for t in tensors:
            t.grad = None
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_it_is_used_where_it_saves_work():
    def layer(size, inputs, features, kernel=(3, 3, 3), stride=(2, 2, 2)):
        below = torch.empty(2, inputs, *size).contiguous(memory_format=torch.channels_last_3d)
        up = torch.empty(inputs, features, *stride)
        return below, up, torch.empty(features, 2 * features, *kernel)

    assert is_worthwhile(*layer((20, 28, 20), 64, 32))
    assert not is_worthwhile(*layer((5, 7, 5), 256, 128))  # composing costs more than it saves
    assert not is_worthwhile(*layer((20, 28, 20), 64, 32, kernel=(1, 3, 3)))  # no such composition
    below, *rest = layer((20, 28, 20), 64, 32)
    assert not is_worthwhile(below.contiguous(), *rest)
