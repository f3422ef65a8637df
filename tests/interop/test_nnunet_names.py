from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fednnunet.errors import FedNNUNetError
from fednnunet.interop.nnunet_names import from_nnunet, nnunet_names, to_nnunet
from tests.interop.models import KINDS, make_bundle, make_plan


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("plain_3d", "encoder.1.blocks.0.conv.weight", "encoder.stages.1.0.convs.0.conv.weight"),
        ("plain_3d", "decoder.0.up.bias", "decoder.transpconvs.1.bias"),
        ("plain_3d", "decoder.1.blocks.0.norm.bias", "decoder.stages.0.convs.0.norm.bias"),
        ("plain_3d", "heads.0.weight", "decoder.seg_layers.1.weight"),
        ("residual_3d", "encoder.0.stem.conv.weight", "encoder.stem.convs.0.conv.weight"),
        (
            "residual_3d",
            "encoder.2.blocks.1.second.norm.weight",
            "encoder.stages.2.blocks.1.conv2.norm.weight",
        ),
        (  # widths change together with the stride, so the convolution comes after a pooling
            "residual_3d",
            "encoder.1.blocks.0.skip.conv.weight",
            "encoder.stages.1.blocks.0.skip.1.conv.weight",
        ),
    ],
)
def test_a_tensor_has_the_name_of_its_layer(kind: str, ours: str, theirs: str) -> None:
    assert nnunet_names(ours, make_plan(kind).configurations[0].architecture)[0] == theirs


def test_blocks_and_the_decoder_name_their_tensors_again() -> None:
    architecture = make_plan().configurations[0].architecture
    assert nnunet_names("encoder.0.blocks.0.norm.weight", architecture) == (
        "encoder.stages.0.0.convs.0.norm.weight",
        "encoder.stages.0.0.convs.0.all_modules.1.weight",
        "decoder.encoder.stages.0.0.convs.0.norm.weight",
        "decoder.encoder.stages.0.0.convs.0.all_modules.1.weight",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, make_plan(kind))
    architecture = bundle.settings.architecture
    theirs = to_nnunet(bundle.weights, architecture)
    back = from_nnunet(theirs, bundle.network().state_dict(), architecture)
    assert back.keys() == bundle.weights.keys()
    assert all(back[name].equal(tensor) for name, tensor in bundle.weights.items())
    assert len(theirs) == len(set(theirs)) > len(back)


def test_wrappers_of_torch_are_taken_off(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, make_plan())
    architecture = bundle.settings.architecture
    theirs = {
        f"module._orig_mod.{name}": tensor
        for name, tensor in to_nnunet(bundle.weights, architecture).items()
    }
    back = from_nnunet(theirs, bundle.weights, architecture)
    assert all(back[name].equal(tensor) for name, tensor in bundle.weights.items())


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("decoder.seg_layers.1.bias", None, "seg_layers.1.bias is missing"),
        ("decoder.seg_layers.1.bias", torch.zeros(5), r"shape \[5\], not \[3\]"),
        ("decoder.seg_layers.1.bias", torch.full((3,), torch.nan), "not finite"),
        ("decoder.seg_layers.1.bias", torch.zeros(3, dtype=torch.int64), "type torch.int64"),
        ("decoder.extra.weight", torch.zeros(1), "'decoder.extra.weight'"),
        ("decoder.encoder.stages.0.0.convs.0.conv.bias", torch.ones(4), "other values"),
    ],
)
def test_what_does_not_fit_is_named(
    name: str, value: torch.Tensor | None, what: str, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, make_plan())
    architecture = bundle.settings.architecture
    theirs = to_nnunet(bundle.weights, architecture)
    theirs.pop(name, None)
    if value is not None:
        theirs[name] = value
    with pytest.raises(FedNNUNetError, match=what) as caught:
        from_nnunet(theirs, bundle.weights, architecture)
    assert caught.value.mend
