"""Reconstruct a training patch from one update, by a made-up plan; and see a site refuse the plan.

    python scripts/attack_reconstruction.py

A coordinator that makes the plan and the weights can have a site send a patch of its images. With
a batch of one and kernels of 2P - 1 voxels (P: edge of the patch), every voxel of a feature map
sees the whole patch. The weights are zero but for one tap behind the first convolution, which lets
the loss depend on one voxel v0 of its output only. One step of SGD then changes the convolution's
weights by

    dw[k] ~ x[v0 + k] - mean over v of x[v + k],

where the mean comes from instance normalisation and is a sum over a box: with v0 in the last corner
these are linear equations of triangular form, which give the patch x but for a factor.

The first figure is of training alone (`LocalJob`), as any site would have done before it checked
plans. The others are of a `Site`, which refuses the plan before it prepares a case by it.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fednnunet import io
from fednnunet.dataset import read_dataset
from fednnunet.device import Device
from fednnunet.errors import FedNNUNetError
from fednnunet.federation.site.approval import approve
from fednnunet.federation.site.site import Site
from fednnunet.federation.spec import Federation, SiteSpec
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import FaultReply, PrepareInvite, pack, unpack
from fednnunet.planning.plan import Architecture, Configuration, Intensity, Plan, Stage
from fednnunet.preprocess.store import Store, prepare_site
from fednnunet.task import Task
from fednnunet.training.augment import make_augmenter
from fednnunet.training.batches import BatchSource
from fednnunet.training.device import Execution
from fednnunet.training.initial import initial_tensors
from fednnunet.training.local_job import LocalJob
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.trainer import train
from fednnunet.volume import Geometry, Volume

EDGE, FEATURES, NAME = 8, 2, "3d_fullres"
WIDE = 2 * EDGE - 1
TASK = Task(name="phantom", channels=("MRI",), labels=("background", "ball"))
RECIPE = RECIPES["nnunet"]
FIRST = "encoder.0.blocks.0.conv.weight"


def make_cases(folder: Path, count: int = 5) -> None:
    """Write volumes of smooth noise with a ball."""
    rng = np.random.default_rng(0)
    far = np.linalg.norm(np.indices((14, 14, 14)) - 7.0, axis=0)
    geometry = Geometry(spacing_mm=(1.0, 1.0, 1.0))
    for number in range(count):
        label = (far < rng.uniform(3, 6)).astype(np.uint8)
        image = (100 * label + rng.normal(0, 30, label.shape)).astype(np.float32)
        name = f"case_{number}"
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        volume = Volume(array=image[None], geometry=geometry)
        io.write_volume(volume, folder / "imagesTr" / f"{name}_0000.nii.gz")
        io.write_mask(label, geometry, folder / "labelsTr" / f"{name}.nii.gz")
    header = '{"channel_names": {"0": "MRI"}, "labels": {"background": 0, "ball": 1}}'
    (folder / "dataset.json").write_text(header)


def made_up_plan(*, wide: bool = True) -> Plan:
    """The attacker's plan; not `wide`: one that a planner could make."""
    kernel = (WIDE if wide else 3,) * 3
    first = Stage(features=FEATURES, kernel=kernel, stride=(1, 1, 1), convs=1, decoder_convs=1)
    last = replace(first, kernel=(3, 3, 3), stride=(2, 2, 2), decoder_convs=0)
    configuration = Configuration(
        name=NAME,
        spacing_mm=(1.0, 1.0, 1.0),
        patch_vox=(EDGE,) * 3,
        batch=1 if wide else 2,
        median_shape_vox=(14.0,) * 3,
        normalisation=("none",) if wide else ("zscore",),
        use_mask=(False,),
        architecture=Architecture(kind="plain", stages=(first, last)),
        batch_dice=False,
    )
    zero = Intensity(mean=0, median=0, std=1, min=0, max=1, percentile_00_5=0, percentile_99_5=1)
    return Plan(task=TASK, planner="x", configurations=(configuration,), intensity=(zero,), cases=5)


def crafted_weights(plan: Plan) -> dict[str, Tensor]:
    """Zero but for the path of one voxel: from the first map's last corner to the first logit."""
    first = initial_tensors(plan, NAME, seed=0)
    weights = {name: torch.zeros_like(tensor) for name, tensor in first.items()}
    for name in weights:
        if name.endswith("norm.weight"):
            weights[name].fill_(1.0)
    weights["encoder.0.blocks.0.norm.bias"].fill_(1.0)
    weights["decoder.0.blocks.0.conv.weight"][0, FEATURES, -1, -1, -1] = 1.0
    weights["heads.0.weight"][:, 0, 0, 0, 0] = torch.tensor([-0.5, 0.5])
    return weights


def reconstruct(plan: Plan, store: Store) -> tuple[Tensor, Tensor]:
    """The patch that was trained on, and what one update tells of it, both (z, y, x)."""
    configuration = plan.configurations[0]
    execution = Execution(device=Device(name="cpu"), fused=False)
    weights = crafted_weights(plan)
    state = new_state(plan, configuration, RECIPE, execution, seed=1, weights=weights)
    names = store.names
    augmenter = make_augmenter(configuration.patch_vox, (False,), RECIPE.augmentation)
    source = BatchSource(
        store=store, names=names, task=TASK, augmenter=augmenter, size=1, seed=1,
        foreground=RECIPE.foreground,
    )  # fmt: skip
    job = LocalJob(
        store=store, names=names, plan=plan, configuration=configuration, recipe=RECIPE,
        iterations=1, schedule_length=1000,
    )  # fmt: skip
    train(state, job, execution)
    change = state.network.state_dict()[FIRST][0, 0, :EDGE, :EDGE, :EDGE]
    return source[0].image[0, 0], solve(change.double().numpy())


def solve(change: np.ndarray) -> Tensor:
    """x from x[p] - (sum of x over all u <= p) / P^3, for every p of the patch."""
    ones = np.tril(np.ones((EDGE, EDGE)))
    boxes = np.kron(np.kron(ones, ones), ones)
    size = EDGE**3
    patch = np.linalg.solve(np.eye(size) - boxes / size, change.reshape(-1))
    return torch.from_numpy(patch.reshape(change.shape))


def through_a_site(folder: Path, base: Path, plan: Plan, *, approved: bool) -> str:
    """What a site answers that is sent the plan, in words; `approved` forges an approval."""
    federation = Federation(
        task=TASK, sites={"north": SiteSpec(folder=folder)}, training=Training(device="cpu")
    )
    site = Site("north", federation, base)
    if approved:
        approve(base, plan, rounds=federation.training.all_rounds)
    reply = unpack(site.answer(pack(PrepareInvite(plan=plan, configuration=NAME))), sender="north")
    if isinstance(reply, FaultReply):
        return f"refused ({reply.kind}, {reply.advice})"
    return "prepared"


def main() -> int:
    """Print the correlation of the reconstruction with the patch, and the site's answers."""
    torch.set_num_threads(1)
    plan = made_up_plan()
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        root = Path(name)
        make_cases(root / "north")
        cases = read_dataset(root / "north", TASK, site="north").cases
        patch, found = reconstruct(plan, prepare_site(cases, plan, NAME, root / "bare"))
        pair = np.stack([patch.double().numpy().reshape(-1), found.numpy().reshape(-1)])
        print(f"training alone: correlation {abs(np.corrcoef(pair)[0, 1]):.6f}")
        for what, approved in (("as sent", False), ("with a forged approval", True)):
            answer = through_a_site(root / "north", root / what, plan, approved=approved)
            print(f"a site, the plan {what}: {answer}")
        try:
            usual = made_up_plan(wide=False)
            print(
                f"a usual plan: {through_a_site(root / 'north', root / 'u', usual, approved=True)}"
            )
        except FedNNUNetError as error:
            print(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
