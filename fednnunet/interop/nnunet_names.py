"""The names of a network's tensors in nnU-Net v2, beside ours.

nnU-Net keeps each tensor under several names: a block lists its layers a second time in
`all_modules`, and the decoder holds the encoder again. Ours stand under one name each (see
`network.unet`), and stage 0 is the finest in both halves, where nnU-Net counts the decoder from
the coarsest stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.planning.plan import Architecture
from fednnunet.text import shown

_PLACE = {"conv": "0", "norm": "1"}  # of a layer in a block's list `all_modules`
_HALF = {"first": "conv1", "second": "conv2"}  # of a residual block
_WRAPPERS = ("module.", "_orig_mod.")  # that torch's parallel and compiled networks add
_MEND = "give a checkpoint that was trained with the plans.json beside it"


def nnunet_names(name: str, architecture: Architecture) -> tuple[str, ...]:
    """Every name that nnU-Net has for our tensor `name`; the first is that of its layer."""
    part, stage, *rest = name.split(".")
    level = len(architecture.stages) - 2 - int(stage)
    if part == "heads":
        return (f"decoder.seg_layers.{level}.{rest[-1]}",)
    if part == "decoder" and rest[0] == "up":
        return (f"decoder.transpconvs.{level}.{rest[-1]}",)
    if part == "decoder":
        return _in_block(f"decoder.stages.{level}.convs.{rest[1]}", rest[-2:])
    block = _encoder_block(int(stage), rest, architecture)
    own = _in_block(block, rest[-2:])
    return (*own, *(f"decoder.{each}" for each in own))


def to_nnunet(weights: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Our tensors under nnU-Net's names; those of one tensor share their memory."""
    return {
        theirs: tensor
        for name, tensor in weights.items()
        for theirs in nnunet_names(name, architecture)
    }


def from_nnunet(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], architecture: Architecture
) -> dict[str, Tensor]:
    """The tensors of an nnU-Net checkpoint under our names, as copies.

    `wanted` is the state of the plan's network. Raises InputError, or ManyFaults for several, where
    a tensor is missing, unknown, of another shape, not finite, or has two different values.
    """
    given = {_bare(name): tensor for name, tensor in given.items()}
    faults: list[FedNNUNetError] = []
    found: dict[str, Tensor] = {}
    known: set[str] = set()
    for name, template in wanted.items():
        names = nnunet_names(name, architecture)
        known.update(names)
        there = [given[each] for each in names if each in given]
        fault = _fault(names[0], there, template)
        if fault:
            faults.append(InputError(fault, mend=_MEND))
        else:
            found[name] = there[0].detach().to(template.dtype).clone().contiguous()
    faults += _unknown(given.keys() - known)
    raise_all("the checkpoint does not fit its plan", faults)
    return found


def _encoder_block(stage: int, rest: list[str], architecture: Architecture) -> str:
    """nnU-Net's name of the block that a tensor of our encoder belongs to."""
    if rest[0] == "stem":
        return "encoder.stem.convs.0"
    if architecture.kind == "plain":
        return f"encoder.stages.{stage}.0.convs.{rest[1]}"
    # the skip's convolution comes after the pooling, in a block that has one
    pooled = rest[1] == "0" and max(architecture.stages[stage].stride) > 1
    part = _HALF.get(rest[2], f"skip.{int(pooled)}")
    return f"encoder.stages.{stage}.blocks.{rest[1]}.{part}"


def _in_block(block: str, layer: Iterable[str]) -> tuple[str, str]:
    """Both names of a layer's tensor in a block of convolution and normalisation."""
    kind, leaf = layer
    return f"{block}.{kind}.{leaf}", f"{block}.all_modules.{_PLACE[kind]}.{leaf}"


def _bare(name: str) -> str:
    """A tensor's name without what torch's wrappers put in front of it."""
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _fault(name: str, there: list[Tensor], template: Tensor) -> str:
    """What is wrong with the copies of one tensor; empty if nothing is."""
    if not there:
        return f"the tensor {name} is missing"
    first = there[0]
    if first.shape != template.shape:
        return f"the tensor {name} has shape {list(first.shape)}, not {list(template.shape)}"
    if first.is_floating_point() != template.is_floating_point():
        return f"the tensor {name} holds numbers of type {first.dtype}"
    if not first.isfinite().all():
        return f"the tensor {name} holds values that are not finite"
    if any(not each.equal(first) for each in there[1:]):
        return f"the tensor {name} has other values under its second name"
    return ""


def _unknown(names: Iterable[str]) -> list[FedNNUNetError]:
    """One fault for all tensors that our network does not have."""
    found = sorted(names)
    if not found:
        return []
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    what = f"the checkpoint has a tensor {shown(found[0])}{more}, which the plan's network has not"
    return [InputError(what, mend="import networks of nnU-Net's own U-Nets only")]
