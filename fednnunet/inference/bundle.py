"""A bundle: a folder with everything that is needed to predict.

It contains the weights of one network, or of several experts that are mixed for each case (see
`routing`). Tensors of experts are named `<expert>/<tensor>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError, raise_all
from fednnunet.evaluation.postprocess import Postprocessing
from fednnunet.files import replacing
from fednnunet.inference.card import JSON as CARD
from fednnunet.inference.card import make_card, read_card, write_card
from fednnunet.network.unet import build_network
from fednnunet.planning.plan import Configuration, Plan, read_plan

SCHEMA = 1
POSTPROCESSING = "postprocessing.json"
_MEND = "use weights that were trained with this plan and configuration"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A plan, the configuration that was trained, and the weights."""

    plan: Plan
    configuration: str
    """Name of the configuration."""
    weights: dict[str, torch.Tensor]
    """The tensors of one network, or of several experts."""
    mirrored: bool = False
    """Whether the training used mirrored patches."""
    note: dict[str, str] = field(default_factory=dict)
    """Origin of the weights (method, site, rounds); for information only."""
    digest: str = ""
    """Hash of plan, configuration, weights and post-processing."""
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    """What is removed from the masks."""

    @property
    def settings(self) -> Configuration:
        """The configuration that was trained."""
        return self.plan.configuration(self.configuration)

    @property
    def experts(self) -> dict[str, dict[str, torch.Tensor]]:
        """The tensors of each expert by name, sorted; empty for the weights of a single network."""
        found: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in sorted(self.weights.items()):
            expert, separator, name = key.partition("/")
            if separator:
                found.setdefault(expert, {})[name] = tensor
        return found

    def network(self) -> torch.nn.Module:
        """The network in eval mode on the CPU, with its weights or those of the first expert.

        Raises ManyFaults if names or shapes differ from those of the plan's network.
        """
        task = self.plan.task
        network = build_network(
            self.settings.architecture,
            channels=len(task.channels),
            heads=task.heads,
            norm=self.plan.norm,
        )
        each = list(self.experts.values()) or [self.weights]
        wanted = network.state_dict()
        faults = [fault for weights in each for fault in _misfits(wanted, weights)]
        raise_all("the weights do not fit the plan", faults)
        network.load_state_dict(each[0])
        return network.eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    schema: int
    configuration: str
    digest: str
    mirrored: bool = False
    note: dict[str, str] = field(default_factory=dict)


def write_bundle(
    folder: Path,
    *,
    plan: Plan,
    configuration: str,
    weights: Mapping[str, torch.Tensor],
    mirrored: bool = False,
    note: Mapping[str, str] | None = None,
) -> Bundle:
    """Write plan.json, weights.safetensors, a model card, and at last bundle.json.

    The last marks completion. The card may be amended later; it is not part of the checksum.
    """
    plan.configuration(configuration)
    tensors = {name: t.detach().to("cpu").contiguous() for name, t in sorted(weights.items())}
    folder.mkdir(parents=True, exist_ok=True)
    header_path = folder / "bundle.json"
    header_path.unlink(missing_ok=True)
    (folder / POSTPROCESSING).unlink(missing_ok=True)
    records.write(plan, folder / "plan.json")
    content = save(tensors)
    with replacing(folder / "weights.safetensors") as temporary:
        temporary.write_bytes(content)
    digest = _digest(folder, configuration, content)
    header = _Header(
        schema=SCHEMA,
        configuration=configuration,
        digest=digest,
        mirrored=mirrored,
        note=dict(note or {}),
    )
    write_card(folder, make_card(plan, configuration, checksum=digest, note=header.note))
    records.write(header, header_path)
    return _bundle(plan, header, tensors)


def write_postprocessing(folder: Path, rule: Postprocessing) -> Bundle:
    """Write the post-processing of a bundle's masks into its folder, in place of an earlier one."""
    bundle = read_bundle(folder)
    rule.check(bundle.plan.task)
    header = records.read(_Header, folder / "bundle.json")
    (folder / "bundle.json").unlink()
    records.write(rule, folder / POSTPROCESSING)
    content = (folder / "weights.safetensors").read_bytes()
    digest = _digest(folder, header.configuration, content)
    if (folder / CARD).is_file():  # bundles of older versions have none
        write_card(folder, replace(read_card(folder), checksum=digest))
    records.write(replace(header, digest=digest), folder / "bundle.json")
    return replace(bundle, digest=digest, postprocessing=rule)


def join_experts(experts: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The weights of a bundle of experts, as copies that share no memory."""
    return {
        f"{expert}/{name}": tensor.clone()
        for expert, tensors in experts.items()
        for name, tensor in tensors.items()
    }


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle. Raises InputError for missing, damaged or modified files."""
    if not folder.is_dir():
        raise InputError(
            f"there is no bundle {folder.name}",
            where=str(folder),
            mend="give a folder with bundle.json, plan.json and weights.safetensors",
        )
    header = records.read(_Header, folder / "bundle.json")
    if header.schema != SCHEMA:
        raise InputError(
            f"the bundle has schema {header.schema}, this program reads {SCHEMA}",
            where=str(folder / "bundle.json"),
            mend="train again with this version of the program",
        )
    plan = read_plan(folder / "plan.json")
    weights, content = _read_weights(folder / "weights.safetensors")
    digest = _digest(folder, header.configuration, content)
    if digest != header.digest:
        raise InputError(
            "the bundle's plan, weights or post-processing were changed after it was written",
            where=str(folder),
            mend="copy the bundle again from its source",
        )
    bundle = _bundle(plan, header, weights)
    bundle.network()
    if (folder / POSTPROCESSING).is_file():
        rule = records.read(Postprocessing, folder / POSTPROCESSING)
        rule.check(plan.task)
        return replace(bundle, postprocessing=rule)
    return bundle


def _bundle(plan: Plan, header: _Header, weights: dict[str, torch.Tensor]) -> Bundle:
    return Bundle(
        plan=plan,
        configuration=header.configuration,
        weights=weights,
        mirrored=header.mirrored,
        note=header.note,
        digest=header.digest,
    )


def _read_weights(path: Path) -> tuple[dict[str, torch.Tensor], bytes]:
    try:
        content = path.read_bytes()
        weights = load(content)
    except FileNotFoundError:
        raise InputError(
            f"{path.name} is missing", where=str(path), mend="copy all files of the bundle"
        ) from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path.name} cannot be read: {error}",
            where=str(path),
            mend="copy the bundle again from its source",
        ) from None
    faults = [
        InputError(
            f"{name} holds values that are not finite",
            where=str(path),
            mend="train again, with a lower learning rate if need be",
        )
        for name, tensor in weights.items()
        if not torch.isfinite(tensor).all()
    ]
    raise_all("the bundle's weights cannot be used", faults)
    return weights, content


def _digest(folder: Path, configuration: str, weights: bytes) -> str:
    sums = sha256((folder / "plan.json").read_bytes())
    sums.update(configuration.encode())
    sums.update(weights)
    if (folder / POSTPROCESSING).is_file():
        sums.update((folder / POSTPROCESSING).read_bytes())
    return sums.hexdigest()


def _misfits(
    wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]
) -> list[FedNNUNetError]:
    """Missing, unknown and wrongly shaped tensors."""
    faults: list[FedNNUNetError] = []
    for name in sorted(wanted.keys() | given.keys()):
        if name not in given:
            faults.append(InputError(f"the tensor {name} is missing", mend=_MEND))
        elif name not in wanted:
            faults.append(InputError(f"the network has no tensor {name}", mend=_MEND))
        elif wanted[name].shape != given[name].shape:
            shapes = f"{list(given[name].shape)}, not {list(wanted[name].shape)}"
            faults.append(InputError(f"the tensor {name} has shape {shapes}", mend=_MEND))
    return faults
