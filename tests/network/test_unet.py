from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fednnunet.errors import PlanError
from tests.network.small import architecture, network


@pytest.mark.parametrize(
    ("design", "count"),
    [  # counted in nnU-Net's own networks
        (architecture([32, 64, 128, 256]), 5_603_177),
        (
            architecture(
                [8, 16, 32],
                kind="residual",
                convs=[1, 3, 4],
                decoder=1,
                strides=[(1, 1, 1), (1, 2, 2), (2, 2, 2)],
                kernels=[(1, 3, 3), (3, 3, 3), (3, 3, 3)],
            ),
            268_222,
        ),
        (architecture([8, 16, 32], axes=2), 29_710),
        (architecture([8, 8, 16], kind="residual", axes=2, convs=[1, 2, 2], decoder=1), 15_302),
    ],
)
def test_it_has_as_many_parameters_as_nnunet(design, count):
    assert sum(p.numel() for p in network(design).parameters()) == count


def test_every_tensor_has_one_name():
    state = network(architecture([4, 8, 8], kind="residual")).state_dict()
    places = [tensor.data_ptr() for tensor in state.values()]
    assert len(set(places)) == len(places)
    assert "encoder.0.stem.conv.weight" in state
    assert "decoder.0.up.weight" in state
    assert "heads.0.weight" in state
    assert state["heads.0.weight"].shape[1] == 4  # the finest


def reference(state, x):
    """The plain network written out with torch's own functions."""

    def block(x, name, stride):
        w, b = state[f"{name}.conv.weight"], state[f"{name}.conv.bias"]
        x = F.conv3d(x, w, b, stride, [k // 2 for k in w.shape[2:]])
        x = F.instance_norm(x, weight=state[f"{name}.norm.weight"], bias=state[f"{name}.norm.bias"])
        return F.leaky_relu(x, 0.01)

    strides = [(1, 1, 1), (1, 2, 2), (2, 2, 2)]
    skips = []
    for i, stride in enumerate(strides):
        x = block(x, f"encoder.{i}.blocks.0", stride)
        x = block(x, f"encoder.{i}.blocks.1", 1)
        skips.append(x)
    out = []
    for i in (1, 0):
        up = f"decoder.{i}.up"
        x = F.conv_transpose3d(x, state[f"{up}.weight"], state[f"{up}.bias"], strides[i + 1])
        x = torch.cat((x, skips[i]), 1)
        x = block(x, f"decoder.{i}.blocks.0", 1)
        x = block(x, f"decoder.{i}.blocks.1", 1)
        out.append(F.conv3d(x, state[f"heads.{i}.weight"], state[f"heads.{i}.bias"]))
    return out[::-1]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_it_computes_what_its_parts_say(memory_format):
    strides = [(1, 1, 1), (1, 2, 2), (2, 2, 2)]
    kernels = [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    net = network(architecture([4, 6, 8], strides=strides, kernels=kernels))
    for tensor in net.state_dict().values():
        tensor.add_(0.05 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)))
    net = net.to(memory_format=memory_format)
    x = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    got, want = net(x.to(memory_format=memory_format)), reference(net.state_dict(), x)
    assert [tuple(t.shape) for t in got] == [(2, 3, 4, 8, 8), (2, 3, 4, 4, 4)]
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.eval()(x), got[0], rtol=1e-4, atol=1e-5)


def test_batch_norm_has_running_statistics():
    state = network(architecture([4, 8]), norm="batch").state_dict()
    assert "encoder.0.blocks.0.norm.running_mean" in state


def test_weights_follow_from_the_seed_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    a = network(architecture([4, 8]), seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    b = network(architecture([4, 8]), seed=3).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    c = network(architecture([4, 8]), seed=4).state_dict()
    assert not torch.equal(a["heads.0.weight"], c["heads.0.weight"])


def test_an_uneven_image_is_refused():
    with pytest.raises(PlanError, match="evenly"):
        network(architecture([4, 8]))(torch.zeros(1, 1, 8, 8, 7))
