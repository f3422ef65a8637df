"""Small architectures and networks for tests."""

from __future__ import annotations

from fednnunet.network.unet import build_network
from fednnunet.planning.plan import Architecture, Stage


def architecture(
    features, *, kind="plain", axes=3, convs=None, decoder=2, strides=None, kernels=None
):
    count = len(features)
    convs = convs or [2] * count
    strides = strides or [(1,) * axes, *[(2,) * axes] * (count - 1)]
    kernels = kernels or [(3,) * axes] * count
    rows = zip(features, kernels, strides, convs, strict=True)
    stages = tuple(
        Stage(
            features=f, kernel=k, stride=s, convs=c, decoder_convs=decoder if i < count - 1 else 0
        )
        for i, (f, k, s, c) in enumerate(rows)
    )
    return Architecture(kind=kind, stages=stages)


def network(design, **changes):
    return build_network(
        design, **{"channels": 1, "heads": 3, "norm": "instance", "seed": 0, **changes}
    )
