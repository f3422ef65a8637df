"""What training is compared to: torch's plain U-Net of the same layers, stepped as nnU-Net does.

If nnU-Net's own network (`dynamic_network_architectures`) can be imported, it is that one. The step
is that of nnU-Net v2's trainer: autocast, loss scaling in float16, channels first, torch's own
instance normalisation, SGD that is not fused, gradients clipped at 12, and the loss fetched to the
CPU after every iteration. Batches come from this package's workers, to both alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from check_cuda_bench import Bench, Cases
from torch import Tensor, nn

from fednnunet.planning.plan import Architecture, Stage
from fednnunet.training.augment import make_augmenter
from fednnunet.training.batches import Batch, BatchSource, batches
from fednnunet.training.losses import level_weights
from fednnunet.training.recipe import recipe_named

Precision = Literal["bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Seconds of a mean iteration, data included, and of the median one; the mean loss."""

    network: str
    seconds: float
    middle: float
    wait_share: float
    memory_gib: float
    loss: float

    def row(self, name: str) -> dict[str, Any]:
        """A line of the same table as the package's."""
        return {
            "training": f"{self.network}, {name}",
            "ms an iteration": 1e3 * self.seconds,
            "ms, median": 1e3 * self.middle,
            "times the reference": 1.0,
            "waiting for data": f"{self.wait_share:.1%}",
            "peak GiB": self.memory_gib,
            "loss": self.loss,
        }


def _block(inputs: int, stage: Stage, stride: Sequence[int], convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(convs):
        padding = tuple(k // 2 for k in stage.kernel)
        step = tuple(stride) if i == 0 else 1
        width = inputs if i == 0 else stage.features
        layers.append(nn.Conv3d(width, stage.features, stage.kernel, step, padding))
        layers.append(nn.InstanceNorm3d(stage.features, affine=True))
        layers.append(nn.LeakyReLU(0.01, inplace=True))
    return nn.Sequential(*layers)


class PlainUNet(nn.Module):
    """Convolutions, instance normalisation, leaky rectifiers, and a head at every resolution."""

    def __init__(self, architecture: Architecture, channels: int, heads: int) -> None:
        super().__init__()
        stages = architecture.stages
        widths = [channels, *(stage.features for stage in stages)]
        self.encoder = nn.ModuleList(
            _block(width, stage, stage.stride, stage.convs)
            for width, stage in zip(widths, stages, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(below.features, stage.features, below.stride, below.stride)
            for stage, below in pairwise(stages)
        )
        self.decoder = nn.ModuleList(
            _block(2 * stage.features, stage, (1, 1, 1), stage.decoder_convs)
            for stage in stages[:-1]
        )
        self.heads = nn.ModuleList(nn.Conv3d(stage.features, heads, 1) for stage in stages[:-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits, finest first."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        logits = []
        for i in reversed(range(len(self.decoder))):
            x = self.decoder[i](torch.cat((self.up[i](x), skips[i]), 1))
            logits.append(self.heads[i](x))
        return logits[::-1]


def reference(
    bench: Bench, cases: Cases, precision: Precision, *, iterations: int, compile: bool = False
) -> Reference:
    """Train the reference on the same batches, timed after the warm-up."""
    torch.manual_seed(0)
    name, network = _network(cases)
    network.apply(_first_weights)
    network = network.to(bench.torch_device).train()
    step = _Step(bench, cases, network, precision, compile)
    warm_up = bench.sizes.warm_up
    with bench.execution.device.tuned():
        step.run(0, warm_up)
        if bench.gpu:
            torch.cuda.reset_peak_memory_stats(bench.torch_device)
        middle = bench.clock(step.optimiser)
        begin = time.perf_counter()
        loss, wait = step.run(warm_up, warm_up + iterations)
        seconds = time.perf_counter() - begin
    peak = torch.cuda.max_memory_allocated(bench.torch_device) / 2**30 if bench.gpu else 0.0
    return Reference(
        network=name,
        seconds=seconds / iterations,
        middle=middle(),
        wait_share=wait / seconds,
        memory_gib=peak,
        loss=loss,
    )


class _Step:
    """nnU-Net's training step."""

    def __init__(
        self, bench: Bench, cases: Cases, network: nn.Module, precision: str, compile: bool
    ) -> None:
        self.bench, self.cases = bench, cases
        self.network = torch.compile(network) if compile else network
        rules = recipe_named("nnunet")
        self.optimiser = torch.optim.SGD(
            network.parameters(),
            rules.learning_rate,
            momentum=0.99,
            nesterov=True,
            weight_decay=3e-5,
        )
        kind = bench.torch_device.type
        self.scaler = torch.amp.GradScaler(kind, enabled=bench.gpu and precision == "float16")
        short = getattr(torch, precision)
        self.autocast = torch.autocast(kind, dtype=short, enabled=bench.gpu)  # slow on most CPUs
        levels = len(cases.configuration.architecture.stages) - 1
        self.weights = level_weights(levels, deep_supervision=True)
        recipe, configuration = recipe_named("nnunet"), cases.configuration
        self.source = BatchSource(
            store=cases.store,
            names=cases.training,
            task=cases.plan.task,
            augmenter=make_augmenter(
                configuration.patch_vox, configuration.use_mask, recipe.augmentation
            ),
            size=configuration.batch,
            foreground=recipe.foreground,
            seed=0,
        )

    def run(self, start: int, stop: int) -> tuple[float, float]:
        """Train on iterations from `start` to before `stop`; mean loss and seconds of waiting."""
        workers, pin = self.bench.execution.workers, self.bench.execution.pin
        made = batches(self.source, start, stop, workers=workers, pin=pin)
        losses, wait = [], 0.0
        for _ in range(start, stop):
            begin = time.perf_counter()
            batch = next(made)
            wait += time.perf_counter() - begin
            losses.append(self.step(batch))
        return sum(losses) / len(losses), wait

    def step(self, batch: Batch) -> float:
        """One iteration; its loss on the CPU."""
        batch = batch.to(self.bench.torch_device)
        self.optimiser.zero_grad(set_to_none=True)
        with self.autocast:
            logits = self.network(batch.image)
            labels = batch.labels.clamp_min(0)
            loss = torch.zeros((), device=labels.device)
            for weight, level in zip(self.weights, logits, strict=False):
                steps = [a // b for a, b in zip(labels.shape[1:], level.shape[2:], strict=True)]
                small = labels[:, :: steps[0], :: steps[1], :: steps[2]]
                loss = loss + weight * self._loss(level, small)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return float(loss.detach().cpu())

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Dice over the batch or per sample, as the plan says, and cross-entropy."""
        axes, classes = (2, 3, 4), labels.long()
        p = torch.softmax(logits, 1)
        with torch.no_grad():
            truth = torch.zeros(logits.shape, device=logits.device, dtype=torch.bool)
            truth.scatter_(1, classes[:, None], 1)
            truth = truth[:, 1:]
            there = truth.sum(axes)
        p = p[:, 1:]
        overlap, found = (p * truth).sum(axes), p.sum(axes)
        if self.cases.configuration.batch_dice:
            overlap, found, there = overlap.sum(0), found.sum(0), there.sum(0)
        dice = (2 * overlap + 1e-5) / torch.clip(there + found + 1e-5, 1e-8)
        return F.cross_entropy(logits, classes) - dice.mean()


def _first_weights(module: nn.Module) -> None:
    """nnU-Net's: He initialisation, no bias."""
    if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _network(cases: Cases) -> tuple[str, nn.Module]:
    """nnU-Net's own network if it can be imported, else the same layers of torch."""
    architecture, task = cases.configuration.architecture, cases.plan.task
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
    except ImportError:
        network = PlainUNet(architecture, len(task.channels), task.heads)
        return "plain U-Net, nnU-Net's step", network
    stages = architecture.stages
    found = PlainConvUNet(
        len(task.channels),
        len(stages),
        [stage.features for stage in stages],
        nn.Conv3d,
        [stage.kernel for stage in stages],
        [stage.stride for stage in stages],
        [stage.convs for stage in stages],
        task.heads,
        [stage.decoder_convs for stage in stages[:-1]],
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    return "nnU-Net's network and step", found
