"""A model from elsewhere labels the organs that it knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.errors import InputError
from fednnunet.inference.bundle import Bundle, write_bundle
from fednnunet.labels.organ_teacher import organ_teacher, with_organs
from fednnunet.labels.pseudo import PseudoLabelling
from fednnunet.labels.settings import PseudoLabels
from fednnunet.planning.plan import Intensity
from fednnunet.supervision import UNKNOWN
from fednnunet.task import Task
from fednnunet.training.completion import Moment
from fednnunet.training.initial import initial_tensors, plan_network
from tests.federation.site_fakes import a_site
from tests.labels.test_pseudo import NONE, weak_batch
from tests.training.fakes import CPU, small_plan, small_task
from tests.training.steps import state

INNER = Task(name="inner only", channels=("MRI",), labels=("background", "inner"))


def a_bundle(task=INNER, *, spacing=1.0, normalisation="zscore", **changes) -> Bundle:
    plan, configuration = small_plan(task=task)
    configuration = replace(
        configuration, spacing_mm=(spacing,) * 3, normalisation=(normalisation,)
    )
    plan = replace(plan, configurations=(configuration,), **changes)
    weights = initial_tensors(plan, "3d_fullres", seed=5)
    return Bundle(plan=plan, configuration="3d_fullres", weights=weights)


def test_the_organs_part_is_taken_and_the_others_share_the_rest():
    own = torch.tensor([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0]]).T.reshape(1, 3, 1, 2)
    found = with_organs(own, {2: torch.tensor([[[0.6, 0.1]]])})[0, :, 0].T
    # 0.4 is shared 5 to 3; where nothing is left for the others it is background.
    assert found.tolist() == [pytest.approx([0.25, 0.15, 0.6]), pytest.approx([0.9, 0.0, 0.1])]
    both = with_organs(own, {1: torch.full((1, 1, 2), 0.9), 2: torch.full((1, 1, 2), 0.6)})
    assert both[0, :, 0, 0].tolist() == pytest.approx([0.0, 0.6, 0.4])


def test_a_patch_of_the_same_spacing_is_seen_as_it_is():
    bundle, (plan, configuration) = a_bundle(), small_plan()
    image = torch.randn((3, 1, 8, 8, 8), generator=torch.Generator().manual_seed(1))
    planes = organ_teacher(bundle, plan, configuration).planes(image, CPU, 2)
    network = plan_network(bundle.plan, bundle.settings).eval()
    network.load_state_dict(bundle.weights)
    with torch.no_grad():
        expected = network(image).softmax(1)[:, 1]
    assert planes.keys() == {2}  # "inner" is the federation's second class
    torch.testing.assert_close(planes[2], expected)


@pytest.mark.parametrize("spacing", [0.5, 1.6])
def test_other_spacings_come_back_on_the_patch(spacing):
    image = torch.zeros((1, 1, 8, 8, 8))
    teacher = organ_teacher(a_bundle(spacing=spacing), *small_plan())
    (plane,) = teacher.planes(image, CPU, 1).values()
    assert plane.shape == (1, 8, 8, 8) and bool(((plane >= 0) & (plane <= 1)).all())


def test_intensities_of_ct_are_those_of_the_models_plan():
    ours = Intensity(
        mean=10, median=0, std=5, min=0, max=0, percentile_00_5=-99, percentile_99_5=99
    )
    theirs = replace(ours, mean=20, std=2, percentile_00_5=0, percentile_99_5=24)
    plan, configuration = small_plan()
    plan, configuration = (
        replace(plan, intensity=(ours,)),
        replace(configuration, normalisation=("ct",)),
    )
    bundle = a_bundle(normalisation="ct", intensity=(theirs,))
    teacher = organ_teacher(bundle, plan, configuration)
    # 2 and -3 standard deviations are 20 and -5, which is cut to 0; 9 are 55, cut to 24.
    image = torch.tensor([2.0, -3.0, 9.0]).reshape(1, 1, 3, 1, 1)
    assert teacher._as_own(image).flatten().tolist() == [0.0, -10.0, 2.0]


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        (a_bundle(small_task(channels=("CT",))), "reads CT"),
        (a_bundle(normalisation="rescale"), "with rescale"),
        (a_bundle(small_task(labels=("background", "liver"))), "knows liver"),
        (replace(a_bundle(), weights={"site-a/heads.0.bias": torch.zeros(2)}), "several experts"),
    ],
)
def test_a_model_that_cannot_teach_here_is_refused(bundle, words):
    with pytest.raises(InputError, match=words):
        organ_teacher(bundle, *small_plan())


def test_its_organ_is_in_the_pseudo_labels_of_a_site_that_names_it(tmp_path):
    bundle = a_bundle()
    bundle.weights["heads.0.bias"].copy_(torch.tensor([-50.0, 50.0]))  # sees its organ everywhere
    folder = tmp_path / "organ"
    write_bundle(
        folder, plan=bundle.plan, configuration=bundle.configuration, weights=bundle.weights
    )
    site = a_site(tmp_path, "one")
    settings = PseudoLabels(start=0.0, ramp_up=0.0)
    named = replace(
        site,
        supervision=replace(site.supervision, default=NONE),
        training=replace(site.training, pseudo_labels=settings),
        policy=replace(site.policy, teacher=folder),
    )
    completion = named.completion
    assert isinstance(completion, PseudoLabelling) and completion.organs is not None
    now = state(CPU)
    completion.begin(now)
    moment = Moment(done=0.5, at_once=2, execution=CPU)
    batch = completion.complete(now, weak_batch(NONE, NONE), moment)
    found = batch.pseudo[0]
    assert set(found[batch.labels == UNKNOWN].tolist()) == {2}
    assert set(found[batch.labels != UNKNOWN].tolist()) == {0}  # outside of the patient
    assert replace(named, policy=site.policy).completion == PseudoLabelling(
        settings=settings, task=site.plan.task
    )
