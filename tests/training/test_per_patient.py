"""DP-SGD's gradient: clipped by hand, noised by the stated amount, and whole at its edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fednnunet.training.batches import Batch
from fednnunet.training.local_rule import LocalRule, RoundContext
from fednnunet.training.patient_batches import SamplePatients
from fednnunet.training.per_patient import PerPatient, norm_of
from fednnunet.training.state import TrainingState, new_state
from fednnunet.training.step import make_stepper
from tests.training.fakes import CPU, a_job, blobs, small_plan, source, train_on_cpu

RULE = PerPatient(clip=1.0, noise=0.0, expected=2.0, patches=1, batch=4, targets=2)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.unused = nn.Parameter(torch.zeros(3))


def linear_state() -> TrainingState:
    network = Linear()
    return TrainingState(
        network=network,
        optimiser=torch.optim.SGD(network.parameters(), lr=1.0),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        recipe="nnunet",
        seed=0,
    )


def rows(*gradients: tuple[float, float]) -> Batch:
    """Samples whose image is the gradient that `run` gives them."""
    return Batch(torch.tensor(gradients).reshape(-1, 2), torch.zeros(len(gradients)))


def run(rule: PerPatient, state: TrainingState, batch: Batch) -> dict[str, torch.Tensor]:
    """As a stepper: the mean over the part, times samples over the plan's batch."""

    def gradient(part: Batch):
        state.optimiser.zero_grad(set_to_none=True)
        state.network.weight.grad = part.image.mean(0) * (len(batch) / rule.batch)
        return torch.tensor(1.0), torch.ones(3, 2)

    rule(state, batch, gradient, RoundContext())
    return {name: p.grad for name, p in state.parameters.items()}


def test_each_patients_gradient_is_clipped_and_the_sum_divided_by_the_expected_number():
    found = run(RULE, linear_state(), rows((3.0, 4.0), (0.3, 0.4), (0.0, -5.0)))
    # (0.6, 0.8) + (0.3, 0.4) + (0, -1), over 2
    torch.testing.assert_close(found["weight"], torch.tensor([0.45, 0.1]))
    assert not found["unused"].any()


def test_patches_of_one_patient_are_clipped_together():
    two = replace(RULE, patches=2)
    found = run(two, linear_state(), rows((6.0, 0.0), (0.0, 8.0), (1.0, 0.0), (-1.0, 0.0)))
    # mean (3, 4) becomes (0.6, 0.8), and (0, 0) stays
    torch.testing.assert_close(found["weight"], torch.tensor([0.3, 0.4]))


def test_a_gradient_that_is_not_finite_counts_as_none():
    found = run(RULE, linear_state(), rows((float("nan"), 1.0), (0.0, 0.5)))
    torch.testing.assert_close(found["weight"], torch.tensor([0.0, 0.25]))


def test_noise_has_its_scale_on_every_parameter_also_without_a_patient():
    rule = replace(RULE, noise=3.0, clip=0.5)
    values = []
    for step in range(300):
        state = linear_state()
        state.step = step
        found = run(rule, state, Batch(torch.zeros(0, 2), torch.zeros(0)))
        values += [*found["weight"].tolist(), *found["unused"].tolist()]
    std = torch.tensor(values).std()
    assert abs(float(std) - 3.0 * 0.5 / 2.0) < 5 * 0.75 / (2 * 1500) ** 0.5


def test_the_same_key_step_and_sum_give_the_same_noise_and_another_sum_does_not():
    rule, state = replace(RULE, noise=1.0), linear_state()
    once = run(rule, state, rows((0.1, 0.0)))["weight"].clone()
    again = run(rule, state, rows((0.1, 0.0)))["weight"].clone()
    other = run(rule, state, rows((0.2, 0.0)))["weight"].clone()
    assert torch.equal(once, again)
    assert abs(float((other - once)[0]) - 0.05) > 1e-4  # not the same noise under another sum


def test_loss_scaling_changes_nothing():
    class Scaler:
        def is_enabled(self) -> bool:
            return True

        def get_scale(self) -> float:
            return 8.0

    state = linear_state()
    state.scaler = Scaler()
    found = run(RULE, state, Batch(rows((24.0, 32.0)).image, torch.zeros(1)))
    torch.testing.assert_close(found["weight"], 8 * torch.tensor([0.3, 0.4]))


def test_without_noise_and_with_a_wide_clip_it_is_the_plain_gradient():
    """In a real step: every patient is in, one patch each, so it is the batch's own mean."""
    plan, configuration = small_plan(batch=3)
    batch = source()[0]
    rule = replace(RULE, clip=1e9, expected=3.0, batch=3)
    found = []
    for rules in ((), (rule,)):
        job = a_job(plan=plan, configuration=configuration)
        job = replace(job, local_rule=LocalRule(gradient_rules=rules))
        state = new_state(plan, configuration, job.recipe, CPU, seed=0)
        make_stepper(job, CPU)(state, batch)
        found.append({n: p.grad for n, p in state.parameters.items()})
    for name, gradient in found[0].items():
        if gradient is not None:
            torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_job_trains_with_all_patients_or_none(rate):
    plan, configuration = small_plan()
    store = blobs()
    sampling = SamplePatients(patients=tuple((name,) for name in store.names), rate=rate, patches=1)
    rule = replace(RULE, noise=0.5, expected=3.0, batch=configuration.batch)
    state = new_state(plan, configuration, a_job().recipe, CPU, seed=0)
    before = {name: p.detach().clone() for name, p in state.parameters.items()}
    local_rule = LocalRule(gradient_rules=(rule,))
    summary = train_on_cpu(state, iterations=2, sampling=sampling, local_rule=local_rule)
    assert len(summary.cases) == 3 * rate
    assert all(torch.isfinite(p).all() for p in state.parameters.values())
    assert any(not torch.equal(p, before[name]) for name, p in state.parameters.items())


def test_the_norm_of_no_tensors_is_0():
    assert float(norm_of({})) == 0
    assert float(norm_of({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])})) == 5
