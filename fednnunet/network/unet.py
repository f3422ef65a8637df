"""U-Net from a plan: plain (Ronneberger et al. 2015, as in nnU-Net v2) or with a residual encoder.

Every tensor stands under exactly one name, so what is kept local by name stays local:
`encoder.{i}.stem...` (residual only), `encoder.{i}.blocks.{j}...`, `decoder.{i}.up...`,
`decoder.{i}.blocks.{j}...`, `heads.{i}...`, with i = 0 the finest stage.
"""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from fednnunet.errors import PlanError
from fednnunet.network import cpu, merged
from fednnunet.network.blocks import CONV, SLOPE, UP, ConvNorm, Norm, Residual
from fednnunet.planning.plan import Architecture, Stage


class EncoderStage(nn.Module):
    """Blocks at one resolution; the first of them takes the stride."""

    def __init__(
        self, inputs: int, stage: Stage, norm: Norm, *, residual: bool, stem: bool
    ) -> None:
        super().__init__()
        ones = (1,) * len(stage.kernel)
        self.stem: nn.Module = nn.Identity()
        if stem:
            self.stem = ConvNorm(inputs, stage.features, stage.kernel, ones, norm)
            inputs = stage.features
        block = Residual if residual else ConvNorm
        widths = [inputs, *[stage.features] * stage.convs]
        strides = [stage.stride, *[ones] * (stage.convs - 1)]
        self.blocks = nn.Sequential(
            *(
                block(a, b, stage.kernel, stride, norm)
                for (a, b), stride in zip(pairwise(widths), strides, strict=True)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, ...) to (b, features, ...)."""
        out: Tensor = self.blocks(self.stem(x))
        return out


class DecoderStage(nn.Module):
    """Upsample what comes from below, join the encoder's features, and convolve."""

    def __init__(self, below: Stage, stage: Stage, norm: Norm) -> None:
        super().__init__()
        ones = (1,) * len(stage.kernel)
        up: Any = UP[len(stage.kernel)]
        self.up = up(below.features, stage.features, below.stride, below.stride)
        widths = [2 * stage.features, *[stage.features] * stage.decoder_convs]
        self.blocks = nn.ModuleList(
            ConvNorm(a, b, stage.kernel, ones, norm) for a, b in pairwise(widths)
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """Features from below and of the encoder at this resolution, to this stage's features."""
        edges = zip(below.shape[2:], self.up.stride, strict=True)
        if tuple(edge * step for edge, step in edges) != tuple(skip.shape[2:]):
            raise _uneven(skip)
        first: Any = self.blocks[0]
        up, up_bias, conv = self.up.weight, self.up.bias, first.conv
        if cpu.is_supported(skip) and merged.is_worthwhile(below, up, conv.weight):
            joined = merged.upsample_convolve(below, skip, up, up_bias, conv.weight, conv.bias)
            x: Tensor = first.finish(joined)
        else:
            x = first(torch.cat((self._upsample(below), skip), 1))
        for block in islice(self.blocks, 1, None):
            x = block(x)
        return x

    def _upsample(self, below: Tensor) -> Tensor:
        if cpu.is_supported(below):
            return cpu.upsample(below, self.up.weight, self.up.bias)
        out: Tensor = self.up(below)
        return out


class UNet(nn.Module):
    """Image (b, c, z, y, x) to logits (b, heads, z, y, x).

    In training mode it returns a list of logits, finest first, one per decoder stage (deep
    supervision, Lee et al. 2015); in evaluation mode the finest tensor alone.
    """

    def __init__(
        self, architecture: Architecture, *, channels: int, heads: int, norm: Norm
    ) -> None:
        super().__init__()
        stages = architecture.stages
        residual = architecture.kind == "residual"
        widths = (channels, *(stage.features for stage in stages))
        self.encoder = nn.ModuleList(
            EncoderStage(width, stage, norm, residual=residual, stem=residual and i == 0)
            for i, (width, stage) in enumerate(zip(widths, stages, strict=False))
        )
        self.decoder = nn.ModuleList(
            DecoderStage(below, stage, norm) for stage, below in pairwise(stages)
        )
        conv = CONV[len(stages[0].kernel)]
        self.heads = nn.ModuleList(conv(stage.features, heads, 1) for stage in stages[:-1])

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Raise PlanError if the image's edges are not divisible by the strides."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        logits = []
        for i in reversed(range(len(self.decoder))):
            x = self.decoder[i](x, skips[i])
            if self.training or i == 0:
                logits.append(_head(self.heads[i], x))
        return logits[::-1] if self.training else logits[-1]


def build_network(
    architecture: Architecture, *, channels: int, heads: int, norm: Norm, seed: int | None = None
) -> UNet:
    """Build the plan's network with nnU-Net's first weights.

    `channels` and `heads` count the image's channels and the outputs (`Task.heads`). With a `seed`
    the weights depend on it alone and torch's global generator is left as it was.
    """
    if seed is None:
        network = UNet(architecture, channels=channels, heads=heads, norm=norm)
        initialise(network)
        return network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(architecture, channels=channels, heads=heads, norm=norm)


def initialise(network: nn.Module) -> None:
    """He initialisation for the leaky rectifier, zero biases; residual branches start at zero.

    He et al., Delving deep into rectifiers, 2015.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            nn.init.kaiming_normal_(module.weight, a=SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Residual):
            nn.init.zeros_(module.second.norm.get_parameter("weight"))


def _head(layer: Any, x: Tensor) -> Tensor:
    if cpu.is_supported(x):
        return cpu.pointwise(x, layer.weight, layer.bias)
    out: Tensor = layer(x)
    return out


def _uneven(skip: Tensor) -> PlanError:
    return PlanError(
        f"feature maps of {list(skip.shape[2:])} voxels cannot be halved and doubled evenly",
        mend="give the network patches divisible by Architecture.divisor",
    )
