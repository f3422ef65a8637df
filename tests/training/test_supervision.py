"""Batches whose cases' labels teach different things."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fednnunet.supervision import SiteSupervision, Supervision
from fednnunet.training.counts import count_batch, count_dice
from fednnunet.training.local_rule import LocalRule
from fednnunet.training.recipe import RECIPES
from fednnunet.training.state import new_state
from fednnunet.training.targets import make_targets
from tests.training.fakes import CPU, small_plan, small_task, train_on_cpu
from tests.training.test_batches import source
from tests.training.test_step import batch, state, stepper

FULL, PARTIAL = Supervision(), Supervision(kind="partial", annotated=(2,))
MIXED = SiteSupervision(cases={"case1": PARTIAL})
TARGETS = {kind: make_targets(small_task(), kind) for kind in (FULL, PARTIAL)}


def mixed_batch(kinds=(FULL, PARTIAL, PARTIAL, FULL)):
    return replace(batch(), supervision=kinds)


def gradients_of(here):
    return [p.grad.clone() for p in here.network.parameters() if p.grad is not None]


def test_samples_carry_the_supervision_of_their_case():
    made = [source(supervision=MIXED, size=6)[step] for step in range(3)]
    plain = [source(size=6)[step] for step in range(3)]
    assert {kind for one in made for kind in one.supervision} == {FULL, PARTIAL}
    assert all(torch.equal(a.image, b.image) for a, b in zip(made, plain, strict=True))
    assert set(plain[0].supervision) == {FULL}


def test_parts_and_copies_of_a_batch_keep_it():
    whole = mixed_batch()
    assert whole.part(1, 3).supervision == (PARTIAL, PARTIAL)
    assert whole.to(torch.device("meta")).supervision == whole.supervision
    assert [one.supervision for one in whole.samples()] == [(k,) for k in whole.supervision]
    assert dict(whole.by_supervision()) == {FULL: (0, 3), PARTIAL: (1, 2)}


def test_counts_of_a_mixed_batch_are_those_of_its_samples():
    logits = torch.randn(4, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = mixed_batch()
    want = sum(
        count_dice(logits[i : i + 1], whole.labels[i : i + 1], TARGETS[kind])
        for i, kind in enumerate(whole.supervision)
    )
    assert torch.equal(count_batch(logits, whole, TARGETS), want)


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


def test_a_class_that_a_case_does_not_annotate_is_not_counted_for_it():
    mixed, full = (
        train_on_cpu(
            new_state(*small_plan(), RECIPES["fast"], CPU, seed=1), iterations=2, supervision=kinds
        ).dice
        for kinds in (MIXED, SiteSupervision())
    )
    assert 0 < mixed.tp[0] + mixed.fn[0] < full.tp[0] + full.fn[0]
    assert mixed.tp[1] + mixed.fn[1] == full.tp[1] + full.fn[1]
