"""All that training carries from one iteration to the next, saved and loaded as one file.

`state.safetensors` holds the tensors and, in its header, the rest as JSON. It is written
under another name and renamed; the one before it is kept as `previous.safetensors`.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.files import replacing
from fednnunet.planning.plan import Configuration, Plan
from fednnunet.text import printable
from fednnunet.training.device import Execution
from fednnunet.training.initial import plan_network
from fednnunet.training.recipe import Recipe

CURRENT, PREVIOUS = "state.safetensors", "previous.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecord:
    """What the file's header says. `check` is a checksum over all tensors, in order of name."""

    schema: int = 1
    step: int
    seed: int
    recipe: str
    scaler: dict[str, float]
    check: int


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """Network, optimiser, loss scaler, and the number of iterations done in the whole federation.

    Random numbers follow from `seed` and `step` (see `batches`): these two are the random state.
    Give each site its own seed. Load shared tensors with `network.load_state_dict`; the optimiser's
    moments stay as they are. `memory` is what a local rule keeps from one iteration and round to
    the next; it is saved, and no message holds it. `runner` is the network as compiled or shared
    over GPUs, if it is.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    recipe: str
    seed: int
    step: int = 0
    memory: dict[str, Tensor] = field(default_factory=dict)
    runner: Callable[..., Any] | None = None

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The network's parameters by name, in the optimiser's order."""
        return dict(self.network.named_parameters())


def new_state(
    plan: Plan,
    configuration: Configuration,
    recipe: Recipe,
    execution: Execution,
    *,
    seed: int,
    weights: Mapping[str, Tensor] | None = None,
) -> TrainingState:
    """A state at iteration 0, from `weights`, or else from weights initialised by `seed`."""
    network: nn.Module = plan_network(plan, configuration, seed=seed)
    if weights is not None:
        network.load_state_dict(dict(weights))
    memory_format = execution.device.memory_format(len(configuration.patch_vox))
    network = network.to(execution.torch_device)
    network = cast(Any, network).to(memory_format=memory_format)
    return TrainingState(
        network=network,
        optimiser=make_optimiser(network, recipe, fused=execution.fused),
        scaler=torch.amp.GradScaler(execution.torch_device.type, enabled=execution.scaler),
        recipe=recipe.name,
        seed=seed,
    )


def make_optimiser(network: nn.Module, recipe: Recipe, *, fused: bool) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW (Loshchilov and Hutter 2019)."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
            weight_decay=recipe.weight_decay,
            fused=fused,
        )
    return torch.optim.AdamW(
        network.parameters(),
        lr=recipe.learning_rate,
        betas=(recipe.momentum, 0.999),
        weight_decay=recipe.weight_decay,
        fused=fused,
    )


def forget_first_moments(state: TrainingState) -> None:
    """Set the first moments of the optimiser (AdamW's mean gradient, SGD's momentum) to zero."""
    for moments in state.optimiser.state.values():
        for name in ("exp_avg", "momentum_buffer"):
            if moments.get(name) is not None:
                moments[name].zero_()


def save(state: TrainingState, folder: Path) -> Path:
    """Write the state into `folder`, keeping the one before; a kill leaves at least one whole."""
    tensors = {f"network.{k}": _plain(v) for k, v in state.network.state_dict().items()}
    tensors |= {f"memory.{name}": _plain(tensor) for name, tensor in state.memory.items()}
    for name, parameter in state.parameters.items():
        for key, value in state.optimiser.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"optimiser.{key}.{name}"] = _plain(torch.as_tensor(value))
    record = StateRecord(
        step=state.step,
        seed=state.seed,
        recipe=state.recipe,
        scaler={key: float(value) for key, value in state.scaler.state_dict().items()},
        check=_checksum(tensors),
    )
    current = folder / CURRENT
    with replacing(current) as temporary:
        header = {"state": json.dumps(records.encode(record))}
        save_file(tensors, temporary, metadata=header)
        if current.exists():
            os.replace(current, folder / PREVIOUS)
    return current


def load(state: TrainingState, folder: Path) -> bool:
    """Load into `state`, made by `new_state` with the same plan and recipe, what was saved.

    Returns whether there was anything. If the newest file is damaged, the one before is taken
    with a warning: compare `state.step`. Raises InputError if there are files but none is whole.
    """
    found = [path for path in (folder / CURRENT, folder / PREVIOUS) if path.exists()]
    faults: list[FedNNUNetError] = []
    for path in found:
        try:
            record, tensors = _read(path)
        except FedNNUNetError as fault:
            faults.append(fault)
            continue
        if faults:
            warnings.warn(f"{faults[0].what}; going on from {path.name}", stacklevel=2)
        _restore(state, record, tensors, path)
        return True
    if faults:
        raise faults[0]
    return False


def _read(path: Path) -> tuple[StateRecord, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as stream:
            header = json.loads((stream.metadata() or {}).get("state", "null"))
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RecursionError, AttributeError) as error:
        raise _damaged(path, str(error)) from None
    record = records.decode(StateRecord, header, source=path.name)
    if record.check != _checksum(tensors):
        raise _damaged(path, "the checksum differs")
    return record, tensors


def _restore(
    state: TrainingState, record: StateRecord, tensors: dict[str, Tensor], path: Path
) -> None:
    if record.recipe != state.recipe:
        raise InputError(
            f"the state was trained by recipe {record.recipe!r}, not {state.recipe!r}",
            where=str(path),
            mend="go on with that recipe, or begin in another folder",
        )
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        part, _, rest = key.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    try:
        state.network.load_state_dict(parts.get("network", {}))
    except RuntimeError:
        raise InputError(
            "the saved state is of another network",
            where=str(path),
            mend="train with the plan it was made with, or begin in another folder",
        ) from None
    device = next(state.network.parameters()).device
    state.memory = {name: tensor.to(device) for name, tensor in parts.get("memory", {}).items()}
    numbers = {name: index for index, name in enumerate(state.parameters)}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in parts.get("optimiser", {}).items():
        kind, _, name = key.partition(".")
        if name not in state.parameters:
            raise _damaged(path, f"it has moments of an unknown parameter {printable(name)!r}")
        parameter = state.parameters[name]
        if tensor.shape == parameter.shape:  # the fused optimisers need the parameter's layout
            tensor = torch.empty_like(parameter.detach()).copy_(tensor)
        elif tensor.numel() != 1:  # a number of steps
            raise _damaged(path, f"the moments of {name} have another shape")
        moments.setdefault(numbers[name], {})[kind] = tensor
    if len({frozenset(kinds) for kinds in moments.values()}) > 1:
        raise _damaged(path, "moments of some parameters are missing")
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    if record.scaler:
        whole = {"growth_interval", "_growth_tracker"}
        scaler = {k: int(v) if k in whole else v for k, v in record.scaler.items()}
        state.scaler.load_state_dict(scaler)
    state.step, state.seed = record.step, record.seed


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    check = 0
    for name in sorted(tensors):
        flat = tensors[name].reshape(-1).view(torch.uint8)
        check = zlib.crc32(flat.numpy().data, zlib.crc32(name.encode(), check))
    return check


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} is damaged: {why}", where=str(path), mend="restore it, or begin anew"
    )
