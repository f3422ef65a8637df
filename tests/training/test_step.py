from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.device import Device
from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.device import Execution, choose_execution
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.recipe import RECIPES
from tests.training.fakes import small_task
from tests.training.mixed import MIXED, mixed_batch
from tests.training.steps import META, batch, state, stepper


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_micro_batches_add_up_to_the_whole(micro_batch):
    whole, parts = state(), state()
    a = stepper()(whole, batch())
    b = stepper(micro_batch=micro_batch)(parts, batch())
    torch.testing.assert_close(a[0], b[0])
    assert torch.equal(a[1], b[1])
    for p, q in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("regions", [{}, {"whole": (1, 2), "core": (2,)}])
def test_a_whole_step_runs_on_the_meta_device(recipe, axes, regions):
    """A tensor made on the CPU in the middle of the step would be refused there."""
    task = small_task(regions=regions, ignore=3)
    here = state(META, recipe, task=task, patch=(8,) * axes)
    step = stepper(META, task=task, axes=axes, micro_batch=2)
    for _ in range(2):
        loss, counts = step(here, batch(axes=axes))
    assert loss.device.type == "meta" and counts.device.type == "meta"
    assert all(p.device.type == "meta" for p in here.network.parameters())
    moments = [v for s in here.optimiser.state.values() for v in s.values() if v is not None]
    assert any(m.device.type == "meta" for m in moments)


def test_a_partial_label_set_runs_on_the_meta_device():
    partial = Supervision(kind="partial", annotated=(2,))
    step = stepper(META, supervision=SiteSupervision(default=partial))
    loss, _ = step(state(META), replace(batch(), supervision=(partial,) * 4))
    assert loss.device.type == "meta"


def test_a_prediction_runs_on_the_meta_device():
    network = state(META).network.eval()
    assert network(torch.empty(1, 1, 8, 8, 8, device="meta")).shape == (1, 3, 8, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here")
def test_a_step_on_cuda_is_that_of_the_cpu():
    execution = choose_execution("cuda:0")
    there, here = state(execution), state()
    loss, _ = stepper(execution)(there, batch())
    want, _ = stepper()(here, batch())
    torch.testing.assert_close(loss.cpu(), want, rtol=0.02, atol=0.02)


def test_bfloat16_runs_on_a_cpu():
    execution = Execution(device=Device(precision="bfloat16"), fused=False)
    loss, _ = stepper(execution)(state(execution), batch())
    want, _ = stepper()(state(), batch())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, want, rtol=0.02, atol=0.02)


def test_a_local_term_is_added_once():
    def pull(seen):
        return sum(p.square().sum() for p in seen.network.parameters())

    whole, parts = state(), state()
    stepper(local_rule=LocalRule(terms=(pull,)))(whole, batch())
    stepper(local_rule=LocalRule(terms=(pull,)), micro_batch=1)(parts, batch())
    plain = state()
    stepper()(plain, batch())
    pairs = list(zip(whole.network.parameters(), parts.network.parameters(), strict=True))
    for p, q in pairs:
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
    perturbed = zip(whole.network.parameters(), plain.network.parameters(), strict=True)
    assert any(not torch.allclose(p, q) for p, q in perturbed)


def test_the_gradient_is_clipped():
    here = state()
    stepper(clip=1e-3)(here, batch())
    total = sum(
        float(p.grad.square().sum()) for p in here.network.parameters() if p.grad is not None
    )
    assert total**0.5 <= 1.01e-3


def gradients_of(here):
    return [p.grad.clone() for p in here.network.parameters() if p.grad is not None]


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_a_mixed_batch_has_the_mean_gradient_of_its_samples(micro_batch):
    """Each sample's loss is that of its own supervision; terms are added to each."""

    def pull(forward):
        return forward.logits.square().mean() * len(forward.targets.groups)

    rule = LocalRule(terms=(pull,))
    here = state()
    step = stepper(local_rule=rule, supervision=MIXED, micro_batch=micro_batch)
    step.gradient(here, 4, mixed_batch())
    parts = []
    for sample in mixed_batch().samples():
        there = state()
        stepper(local_rule=rule, supervision=MIXED, batch=1).gradient(there, 1, sample)
        parts.append(gradients_of(there))
    for found, wanted in zip(gradients_of(here), zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(wanted).mean(0), rtol=1e-4, atol=1e-6)
