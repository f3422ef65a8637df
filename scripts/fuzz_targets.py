"""Fuzz targets for what crosses a site's wall: messages, fingerprints, plans, states, bundles."""

from __future__ import annotations

import functools
import json
import random
import shutil
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_messages import packed_messages
from fuzz_mutate import (
    join_safetensors,
    mutate_array,
    mutate_bytes,
    mutate_json,
    mutate_safetensors,
    mutate_value,
    split_safetensors,
    to_json,
)

from fednnunet import records
from fednnunet.device import Device
from fednnunet.evaluation.report import summarise
from fednnunet.federation.coordinator.history import load_last, write_history
from fednnunet.federation.wire import messages
from fednnunet.inference.bundle import read_bundle, write_bundle
from fednnunet.network.unet import build_network
from fednnunet.planning.explain import why
from fednnunet.planning.fingerprint import CaseFingerprint, Fingerprint
from fednnunet.planning.memory import micro_batch
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage, read_plan
from fednnunet.planning.planner import make_plan
from fednnunet.planning.record import read_fingerprint, to_record
from fednnunet.planning.shapes import ShapeSketch
from fednnunet.planning.sketch import ForegroundSketch
from fednnunet.planning.spacing import target_spacing
from fednnunet.planning.validate import validate, validate_shapes
from fednnunet.task import Task
from fednnunet.training import state as training_state
from fednnunet.training.device import Execution
from fednnunet.training.recipe import RECIPES

Target = Callable[[random.Random, Path], None]

TASK = Task(name="fuzz", channels=("MRI", "CT"), labels=("background", "organ", "tumour"))


@functools.cache
def small_plan() -> Plan:
    """A plan whose network is made in a moment."""
    stages = tuple(
        Stage(
            features=4 + 4 * i, kernel=(3,) * 3, stride=(1 + i,) * 3, convs=1, decoder_convs=1 - i
        )
        for i in range(2)
    )
    configuration = Configuration(
        name="3d_fullres",
        spacing_mm=(1.5, 1.0, 1.0),
        patch_vox=(8, 8, 8),
        batch=2,
        median_shape_vox=(12.0, 12.0, 12.0),
        normalisation=("zscore", "ct"),
        use_mask=(False, False),
        architecture=Architecture(kind="plain", stages=stages),
        batch_dice=False,
    )
    values = Intensity(
        mean=0.0, median=0.0, std=1.0, min=-1.0, max=1.0, percentile_00_5=-1.0, percentile_99_5=1.0
    )
    return Plan(
        task=TASK,
        planner="plain",
        configurations=(configuration,),
        intensity=(values, values),
        cases=4,
        site_labels={"berlin": ("organ",)},
        label_cases={"organ": 3},
    )


@functools.cache
def sums() -> tuple[Fingerprint, ShapeSketch]:
    """What a site of eight cases answers to both exchanges."""
    cases = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        voxels = (rng.normal(300, 60, 200), rng.normal(40, 90, 200).round())
        cases.append(
            CaseFingerprint(
                spacing_mm=(round(float(rng.uniform(1, 3)), 3), 0.9, 0.9),
                shape_vox=(40 + seed, 60, 50 - seed),
                crop_ratio=float(rng.uniform(0.5, 1)),
                foreground=tuple(ForegroundSketch.of_voxels(v) for v in voxels),
                voxels_per_label=(90_000, 150, 50 * (seed % 2)),
            )
        )
    fingerprint = Fingerprint.of(TASK, cases)
    pairs = [(case.spacing_mm, case.shape_vox) for case in cases]
    return fingerprint, ShapeSketch.of_cases(target_spacing(fingerprint), pairs)


@functools.cache
def network_tensors() -> dict[str, torch.Tensor]:
    """First weights of the small plan's network."""
    plan = small_plan()
    architecture = plan.configurations[0].architecture
    network = build_network(architecture, channels=2, heads=3, norm=plan.norm, seed=0)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@functools.cache
def sample_messages() -> tuple[bytes, ...]:
    """One packed message of every kind."""
    return packed_messages(TASK, small_plan())


def _message_header(rng: random.Random, header: Any) -> Any:
    """Change the safetensors header, or the fields within it."""
    if rng.random() < 0.2:
        return mutate_value(rng, header)
    content = json.loads(header["__metadata__"]["message"])
    text = mutate_json(rng, content)
    if rng.random() < 0.3:
        content["fields"][rng.choice(("tensors", "extra"))] = rng.choice(({}, [], 1, "a"))
        text = to_json(content)
    header["__metadata__"]["message"] = text.decode("utf-8", "replace")
    return header


def message(rng: random.Random, folder: Path) -> None:
    """Unpack a message, and use what it says as either side would."""
    data = mutate_safetensors(rng, rng.choice(sample_messages()), _message_header)
    content = messages.unpack(data, sender="site berlin")
    messages.pack(content)
    if isinstance(content, messages.EvaluateReply):
        content.scores.of_at_least(2).mean()
        summarise({"berlin": content.scores.mean("dice")})
    if isinstance(content, messages.PrepareInvite):
        why(content.plan)


def sums_vector(rng: random.Random, folder: Path) -> None:
    """Both exchanges of planning with changed sums, up to the plan."""
    fingerprint, shapes = sums()
    vector, counts = fingerprint.to_vector(), shapes.to_vector()
    if rng.random() < 0.8:
        vector = mutate_array(rng, vector)
    else:
        counts = mutate_array(rng, counts)
    received = Fingerprint.from_vector(TASK, vector, site="berlin")
    validate(received, site="berlin")
    spacing = target_spacing(received)
    answered = ShapeSketch.from_vector(spacing, counts, site="berlin")
    validate_shapes(answered, site="berlin", cases=received.cases)
    why(make_plan(received, answered))


def fingerprint_file(rng: random.Random, folder: Path) -> None:
    """Read a changed fingerprint.json."""
    path = folder / "fingerprint.json"
    path.write_bytes(mutate_json(rng, _fingerprint_record()))
    read = read_fingerprint(path)
    validate(read, site="berlin")
    target_spacing(read)


@functools.cache
def _fingerprint_record() -> Any:
    return json.loads(to_json(records.encode(to_record(sums()[0]))))


def plan_file(rng: random.Random, folder: Path) -> None:
    """Read a changed plan.json, explain it, and make its network."""
    path = folder / "plan.json"
    path.write_bytes(mutate_json(rng, json.loads(to_json(records.encode(small_plan())))))
    plan = read_plan(path)
    why(plan)
    records.write(plan, path)
    for configuration in plan.configurations:
        micro_batch(configuration, plan.task, 8.0)
        build_network(
            configuration.architecture,
            channels=len(plan.task.channels),
            heads=plan.task.heads,
            norm=plan.norm,
            seed=0,
        )


def bundle(rng: random.Random, folder: Path) -> None:
    """Read a bundle of which one file was changed; its digest is made right again."""
    own = folder / "bundle"
    shutil.rmtree(own, ignore_errors=True)
    write_bundle(own, plan=small_plan(), configuration="3d_fullres", weights=network_tensors())
    path = own / rng.choice(("bundle.json", "plan.json", "weights.safetensors"))
    if path.suffix == ".json":
        path.write_bytes(mutate_json(rng, json.loads(path.read_bytes())))
    else:
        path.write_bytes(mutate_safetensors(rng, path.read_bytes()))
    if path.name != "bundle.json" and rng.random() < 0.9:
        digest = sha256((own / "plan.json").read_bytes() + b"3d_fullres")
        digest.update((own / "weights.safetensors").read_bytes())
        header = json.loads((own / "bundle.json").read_bytes())
        (own / "bundle.json").write_bytes(to_json({**header, "digest": digest.hexdigest()}))
    read_bundle(own)


@functools.cache
def _saved_state() -> bytes:
    import tempfile

    plan = small_plan()
    state = _new_state(plan)
    for parameter in state.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimiser.step()
    with tempfile.TemporaryDirectory() as name:
        return training_state.save(state, Path(name)).read_bytes()


def _new_state(plan: Plan) -> training_state.TrainingState:
    execution = Execution(device=Device(), fused=False)
    return training_state.new_state(
        plan, plan.configurations[0], RECIPES["fast"], execution, seed=1
    )


def site_state(rng: random.Random, folder: Path) -> None:
    """Load a site's training state whose header was changed; its checksum is made right again."""
    path = folder / "state" / training_state.CURRENT
    path.parent.mkdir(exist_ok=True)

    def change(rng: random.Random, header: Any) -> Any:
        if rng.random() < 0.5:
            record = json.loads(header["__metadata__"]["state"])
            changed = mutate_json(rng, record).decode("utf-8", "replace")
            header["__metadata__"]["state"] = changed
            return header
        return mutate_value(rng, header)

    data = mutate_safetensors(rng, _saved_state(), change)
    path.write_bytes(_with_checksum(data) if rng.random() < 0.8 else data)
    state = _new_state(small_plan())
    if training_state.load(state, path.parent):
        for parameter in state.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        state.optimiser.step()


def _with_checksum(data: bytes) -> bytes:
    """The state file with the checksum that its tensors have, where it can be read at all."""
    try:
        header, body = split_safetensors(data)
        check = 0
        for name in sorted(set(header) - {"__metadata__"}):
            start, end = header[name]["data_offsets"]
            check = zlib.crc32(body[start:end], zlib.crc32(name.encode(), check))
        record = json.loads(header["__metadata__"]["state"])
        header["__metadata__"]["state"] = json.dumps({**record, "check": check})
        return join_safetensors(header, body)
    except Exception:  # noqa: BLE001 - then it stays as it is
        return data


def checkpoint(rng: random.Random, folder: Path) -> None:
    """Take up a coordinator's last round whose record or tensors were changed."""
    own = folder / "rounds"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    tensors = messages.pack(messages.FingerprintReply(tensors=network_tensors()))
    site = {
        "cases": 4,
        "loss": 0.5,
        "dice": [0.5, None],
        "seconds": 1.0,
        "wait_share": 0.1,
        "bytes_to_site": 10,
        "bytes_from_site": 10,
        "held_out": [0.5, 0.5],
        "notes": ["a"],
    }
    record = {
        "key": "k",
        "round": 1,
        "phase": "joint",
        "shift": 0.5,
        "sites": {"berlin": site},
        "refused": {"oslo": "late"},
        "of": 3,
    }
    name = "0001"
    if rng.random() < 0.7:
        (own / f"{name}.json").write_bytes(mutate_json(rng, record))
        (own / f"{name}.safetensors").write_bytes(tensors)
    else:
        (own / f"{name}.json").write_bytes(to_json(record))
        (own / f"{name}.safetensors").write_bytes(mutate_bytes(rng, tensors))
    _, found = load_last(own, key="k")
    write_history(found, TASK.targets, own / "history.csv")


MESSAGE_TARGETS: dict[str, Target] = {
    "messages": message,
    "sums": sums_vector,
    "fingerprint": fingerprint_file,
    "plan": plan_file,
    "bundle": bundle,
    "state": site_state,
    "checkpoint": checkpoint,
}
