"""Mixing experts: the mean that is asked for, terms by hand, and who wins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fednnunet import records
from fednnunet.dataset import list_images
from fednnunet.errors import InputError, ManyFaults
from fednnunet.inference.bundle import Bundle, join_experts, read_bundle, write_bundle
from fednnunet.inference.compute import Compute
from fednnunet.inference.predict import predict_cases
from fednnunet.inference.predicted import ROUTES
from fednnunet.inference.routing import Experts, Routing, prediction_inconsistency, route
from fednnunet.io import read_label, read_volume, write_volume
from fednnunet.planning.plan import Plan
from fednnunet.task import Task
from fednnunet.volume import Geometry, Volume
from tests.inference.bodies import mask_of

NewPlan = Callable[..., Plan]
NewBundle = Callable[..., Bundle]
CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Background against foreground: slope * image + offset."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv3d(1, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


def an_expert(slope: float, offset: float) -> dict[str, torch.Tensor]:
    weight = torch.tensor([0.0, slope]).reshape(2, 1, 1, 1, 1)
    return {"head.weight": weight, "head.bias": torch.tensor([0.0, offset])}


def a_ball() -> np.ndarray:
    grid = np.indices((12, 14, 13))
    far = sum((axis - centre) ** 2 for axis, centre in zip(grid, (6, 6, 7), strict=True))
    noise = np.random.default_rng(0).normal(0, 0.05, far.shape)
    return ((far < 20) * 4.0 + noise).astype(np.float32)[None]


def routed(experts, network=None, **options) -> tuple[dict[str, float], nn.Module]:
    network = (network or Brightness()).eval()
    shares = route(
        network,
        Experts.of(experts, CPU),
        a_ball(),
        (8, 8, 8),
        regions=False,
        compute=Compute(),
        **options,
    )
    return shares, network


def test_a_mixture_is_the_weighted_sum_of_each_layers_tensors():
    def expert(value: float) -> dict[str, torch.Tensor]:
        return {
            "a.weight": torch.full((2,), value),
            "a.bias": torch.tensor([2 * value]),
            "b.weight": torch.tensor([value]),
            "b.count": torch.tensor(int(value)),
        }

    experts = Experts.of({"one": expert(1.0), "two": expert(5.0)}, CPU)
    table = torch.tensor([[0.25, 0.75], [1.0, 1e-30]]).log()
    mixed = experts.mix(table)
    torch.testing.assert_close(mixed["a.weight"], torch.full((2,), 4.0))
    torch.testing.assert_close(mixed["a.bias"], torch.tensor([8.0]))
    torch.testing.assert_close(mixed["b.weight"], torch.tensor([1.0]))
    assert mixed["b.count"] == 1
    assert experts.shares(table) == pytest.approx({"one": 0.625, "two": 0.375})
    torch.testing.assert_close(experts.mix(experts.table())["a.weight"], torch.full((2,), 3.0))


def test_the_terms_by_hand():
    """A square of 2 x 2 in 6 x 6, found surely, in the second view one row lower."""
    first, second = torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6)
    first[..., 2:4, 2:4] = 1
    second[..., 3:5, 2:4] = 1
    views = torch.cat([1 - first, first], 1), torch.cat([1 - second, second], 1)
    bare = Routing(certainty=0, shape=0)
    assert float(
        prediction_inconsistency(views[0], views[0], bare, regions=False)
    ) == pytest.approx(0, abs=1e-5)
    assert float(prediction_inconsistency(*views, bare, regions=False)) == pytest.approx(
        1 - 2 * 2 / 8, abs=1e-5
    )
    shaped = prediction_inconsistency(views[0], views[0], replace(bare, shape=1.0), regions=False)
    assert float(shaped) == pytest.approx(16 / 4, abs=1e-4)  # within one voxel of its edge
    unsure = torch.full((1, 2, 6, 6), 0.5)
    certain = prediction_inconsistency(unsure, unsure, replace(bare, certainty=1.0), regions=False)
    assert float(certain) == pytest.approx(36 / 18, abs=1e-4)
    halves = prediction_inconsistency(unsure, unsure, replace(bare, certainty=1.0), regions=True)
    assert float(halves) == pytest.approx(72 / 36, abs=1e-4)


def test_the_sure_expert_wins_over_the_vague_one_and_over_one_that_sees_nothing():
    experts = {
        "blind": an_expert(0.0, -20.0),
        "sure": an_expert(10.0, -20.0),
        "vague": an_expert(1.0, -1.0),
    }
    shares, network = routed(experts)
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert shares["sure"] == max(shares.values())
    assert shares["blind"] == min(shares.values())
    assert shares["sure"] > 2 * shares["blind"]
    slopes = network.head.weight.detach().flatten()
    assert slopes[1] > (10 + 1) / 3


class Leaning(nn.Module):
    """Finds what is bright, and with a `lean` also what lies low in the patch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv3d(1, 2, 1)
        self.lean = nn.Linear(1, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.linspace(-1, 1, x.shape[2])[:, None, None].expand(x.shape[2:])
        ramp = self.lean(rows[..., None])[..., 0]
        return self.head(x) + torch.stack([torch.zeros_like(ramp), ramp])


def test_an_expert_that_goes_by_the_place_in_the_patch_loses():
    """Both know the ball; only of the leaning one is the answer another a few voxels beside."""
    bright = an_expert(10.0, -20.0)
    lean = "lean.weight"
    experts = {
        "steady": bright | {lean: torch.zeros(1, 1)},
        "leaning": bright | {lean: torch.full((1, 1), 40.0)},
    }
    beside = Routing(certainty=0, shape=0, noise=0)
    assert routed(experts, network=Leaning(), routing=beside)[0]["steady"] > 0.7
    same = replace(beside, shift_vox=0)
    assert routed(experts, network=Leaning(), routing=same)[0]["steady"] == pytest.approx(0.5)


def test_equal_experts_stay_one_network():
    shares, network = routed({"a": an_expert(3.0, -2.0), "b": an_expert(3.0, -2.0)})
    assert shares == pytest.approx({"a": 0.5, "b": 0.5})
    torch.testing.assert_close(network.head.weight.detach(), an_expert(3.0, -2.0)["head.weight"])


def test_the_same_case_gives_the_same_mixture():
    experts = {"a": an_expert(9.0, -20.0), "b": an_expert(0.5, -0.5)}
    assert routed(experts)[0] == routed(experts)[0]
    still, network = routed(experts, routing=Routing(steps=0))
    assert still == {"a": 0.5, "b": 0.5}
    torch.testing.assert_close(network.head.bias.detach()[1], torch.tensor(-10.25))


def test_settings_out_of_range_are_refused():
    below = ({"steps": -1}, {"shape": -1}, {"shift_vox": -1})
    for wrong in (*below, {"patches": 0}, {"learning_rate": 0}, {"window_vox": 0}):
        with pytest.raises(InputError, match="routing cannot have the settings"):
            Routing(**wrong)


def a_routed_bundle(folder: Path, plan: Plan, new_bundle: NewBundle, count: int = 2) -> Bundle:
    experts = {f"site{i}": new_bundle(folder / str(i), plan, seed=i).weights for i in range(count)}
    return write_bundle(
        folder / "routed",
        plan=plan,
        configuration=plan.configurations[0].name,
        weights=join_experts(experts),
    )


REGIONS = Task(
    name="t",
    channels=("MRI",),
    labels=("background", "organ", "nodule"),
    regions={"whole": (1, 2), "nodule": (2,)},
)


@pytest.mark.parametrize(
    "changes", [{}, {"patch": (8, 8), "spacing": (1.0, 1.0)}, {"task": REGIONS}]
)
def test_a_folder_is_predicted_and_the_shares_are_written(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle, compute: Compute, changes: dict
) -> None:
    bundle = a_routed_bundle(tmp_path, new_plan(**changes), new_bundle)
    assert read_bundle(tmp_path / "routed").digest == bundle.digest
    assert list(bundle.experts) == ["site0", "site1"]
    for number in range(2):
        noise = np.random.default_rng(0).normal(0, number, a_ball().shape)
        array = (a_ball() + noise).astype(np.float32)
        volume = Volume(array=array, geometry=Geometry(spacing_mm=(1.5, 1.0, 1.0)))
        write_volume(volume, tmp_path / "in" / f"c{number}_0000.nii.gz")
    cases = list_images(tmp_path / "in", 1)
    outcome = predict_cases(bundle, cases, tmp_path / "out", compute=compute)
    assert outcome.written == ("c0", "c1")
    found = records.json.loads((tmp_path / "out" / ROUTES).read_text())["cases"]
    assert found.keys() == {"c0", "c1"}
    assert all(math.fsum(shares.values()) == pytest.approx(1) for shares in found.values())
    assert found["c0"] != found["c1"]
    assert predict_cases(bundle, cases, tmp_path / "out", compute=compute).kept == ("c0", "c1")


def test_equal_experts_predict_what_their_network_predicts(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle, compute: Compute
) -> None:
    plan = new_plan()
    one = new_bundle(tmp_path / "one", plan)
    both = write_bundle(
        tmp_path / "both",
        plan=plan,
        configuration="3d_fullres",
        weights=join_experts({"a": one.weights, "b": one.weights}),
    )
    volume = Volume(array=a_ball(), geometry=Geometry(spacing_mm=(1.5, 1.0, 1.0)))
    path = tmp_path / "in" / "c_0000.nii.gz"
    write_volume(volume, path)
    predict_cases(both, list_images(path.parent, 1), tmp_path / "out", compute=compute)
    network = compute.place(one.network(), 3)
    alone = mask_of([network], plan, read_volume([path]), compute)
    assert np.array_equal(read_label(tmp_path / "out" / "c.nii.gz").array[0], alone)


def test_an_expert_that_does_not_fit_the_plan_is_refused(
    tmp_path: Path, new_plan: NewPlan, new_bundle: NewBundle
) -> None:
    plan = new_plan()
    good = new_bundle(tmp_path / "good", plan).weights
    bad = {name: tensor for name, tensor in good.items() if not name.startswith("heads")}
    write_bundle(
        tmp_path / "routed",
        plan=plan,
        configuration="3d_fullres",
        weights=join_experts({"good": good, "bad": bad}),
    )
    with pytest.raises((InputError, ManyFaults), match=r"heads\.0|do not fit"):
        read_bundle(tmp_path / "routed")
