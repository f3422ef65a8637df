"""The teacher: a mean of models, which labels what is unknown.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, where the mean follows
the student in every iteration. In a federation the model that a site receives is already a mean,
over sites and iterations, and holds what labelled sites have learnt since; a site without labels
that follows itself only confirms its own mistakes. So a round begins from

    teacher = carry * teacher + (1 - carry) * received,

and in an iteration the teacher becomes decay * teacher + (1 - decay) * student. With `carry` 0 and
`decay` 1 it is the received model itself (as in FedSSL's pseudo-labelling from the global model).
It lies in the site's memory, which is saved with the state where the next round needs it and never
sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call

from fednnunet.errors import OutOfMemoryError
from fednnunet.labels.cross import captured_stage
from fednnunet.training.completion import Moment
from fednnunet.training.features import capture_features
from fednnunet.training.state import TrainingState

_TEACHER = "pseudo_labels/teacher/"
_RECEIVED = "pseudo_labels/received/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """The mean over rounds and iterations; with `keep_received` that model is kept beside it."""

    decay: float
    carry: float
    keep_received: bool = False

    def begin(self, state: TrainingState) -> None:
        """At the beginning of a round, from the network as received."""
        received = {n: t.detach().clone() for n, t in state.network.state_dict().items()}
        before = _part(state.memory, _TEACHER)
        teacher = {name: tensor.clone() for name, tensor in received.items()}
        for name, tensor in teacher.items():
            if self.carry and name in before and tensor.is_floating_point():
                tensor.lerp_(before[name].to(tensor), self.carry)
        state.memory |= {_TEACHER + name: tensor for name, tensor in teacher.items()}
        if self.keep_received:
            state.memory |= {_RECEIVED + name: tensor for name, tensor in received.items()}

    @torch.no_grad()
    def follow(self, state: TrainingState) -> None:
        """After an iteration: a step towards the network; counts are taken as they are."""
        if self.decay == 1:
            return
        teacher = _part(state.memory, _TEACHER)
        for name, tensor in state.network.state_dict().items():
            if tensor.is_floating_point():
                teacher[name].lerp_(tensor, 1 - self.decay)
            else:
                teacher[name].copy_(tensor)

    def end(self, state: TrainingState) -> None:
        """At the end of a round: forget what the next one does not need."""
        dropped = (_RECEIVED,) if self.carry else (_RECEIVED, _TEACHER)
        for name in [name for name in state.memory if name.startswith(dropped)]:
            del state.memory[name]

    def tensors(self, state: TrainingState) -> Mapping[str, Tensor]:
        """The teacher's tensors by the network's names."""
        return _part(state.memory, _TEACHER)

    def received(self, state: TrainingState) -> Mapping[str, Tensor]:
        """Those of the model that the round began from."""
        return _part(state.memory, _RECEIVED)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model says of images: `logits` (b, k, z, y, x), the `features` (b, f, z, y, x) that
    its finest head reads, and the `coarse` ones of the next head, if wanted; in 2D without z."""

    logits: Tensor
    features: Tensor
    coarse: Tensor | None = None


@torch.no_grad()
def look(
    state: TrainingState,
    tensors: Mapping[str, Tensor],
    image: Tensor,
    moment: Moment,
    *,
    coarse: bool = False,
) -> Seen:
    """One forward pass in evaluation mode, without gradient, in parts of `moment.at_once` samples.

    `image` (b, c, z, y, x) may lie on any device. Raises OutOfMemoryError where one sample alone
    does not fit into the GPU's memory; otherwise the parts are halved until they fit.
    """
    at_once = min(moment.at_once, len(image))
    was_training = state.network.training
    state.network.eval()
    try:
        while True:
            try:
                return _in_parts(partial(_pass, state, tensors, coarse), image, at_once, moment)
            except torch.OutOfMemoryError:
                if at_once <= 1:
                    raise _does_not_fit(moment) from None
            torch.cuda.empty_cache()
            at_once //= 2
    finally:
        state.network.train(was_training)


def _in_parts(run: Any, image: Tensor, at_once: int, moment: Moment) -> Seen:
    device, found = moment.execution.device, []
    for start in range(0, len(image), at_once):
        part = image[start : start + at_once].to(device.torch_device)
        with device.autocast():
            found.append(run(device.arrange(part)))
    lower = [seen.coarse for seen in found if seen.coarse is not None]
    return Seen(
        _joined([seen.logits.float() for seen in found]),
        _joined([seen.features for seen in found]),
        _joined(lower) if lower else None,
    )


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _pass(state: TrainingState, tensors: Mapping[str, Tensor], coarse: bool, image: Tensor) -> Seen:
    lower = captured_stage(state.network) if coarse else nullcontext(list[Tensor]())
    with capture_features(state.network) as features, lower as below:
        logits = cast(Tensor, functional_call(state.network, dict(tensors), (image,)))
    return Seen(logits, features[-1], below[-1] if below else None)


def _part(memory: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in memory.items() if n.startswith(prefix)}


def _does_not_fit(moment: Moment) -> OutOfMemoryError:
    return OutOfMemoryError(
        "the teacher's pass over one patch alone does not fit into the GPU's memory",
        where=f"device {moment.execution.device.name}",
        mend='end what else uses the GPU, train with device = "cpu", or lower '
        "sites.NAME.memory_gib and plan anew in another run folder, for smaller patches",
    )
