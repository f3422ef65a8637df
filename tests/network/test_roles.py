from __future__ import annotations

import pytest

from fednnunet.errors import InputError
from fednnunet.network.roles import is_norm, role
from fednnunet.network.unet import build_network
from tests.network.small import architecture


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_every_tensor_has_a_role(norm):
    net = build_network(architecture([4, 8], kind="residual"), channels=1, heads=2, norm=norm)
    state = net.state_dict()
    assert {role(name) for name in state} == {"encoder", "decoder", "head"}
    norms = {name for name in state if is_norm(name)}
    sizes = {name: tensor.ndim for name, tensor in state.items()}
    assert norms and all(sizes[name] <= 1 for name in norms)
    assert not any(is_norm(name) for name in state if ".conv." in name or ".up." in name)


def test_a_strange_name_is_refused():
    with pytest.raises(InputError, match="no tensor"):
        role("optimiser.weight")
