"""The blocks that networks are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fednnunet.network.blocks import InstanceNorm
from tests.network.small import architecture, network


def test_instance_norm_is_torchs():
    norm = InstanceNorm(3)
    torch.nn.init.uniform_(norm.weight)
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    ours, theirs = norm(x), F.instance_norm(y, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_residual_branches_start_at_zero():
    net = network(architecture([4, 8], kind="residual"))
    block = net.encoder[0].blocks[0]
    x = torch.rand(1, 4, 4, 4, 4) + 0.1
    torch.testing.assert_close(block(x), x)
