"""Membership from losses: scores of cases, and what too few of them say."""

from __future__ import annotations

import math
from dataclasses import replace

from fednnunet.audit.membership import case_scores, membership
from fednnunet.training.state import new_state
from tests.training.fakes import CPU, a_job, source


def test_a_score_a_batch():
    job = a_job()
    job = replace(job, recipe=replace(job.recipe, deep_supervision=False))
    state = new_state(job.plan, job.configuration, job.recipe, CPU, seed=0)
    made = source(size=2)
    scores = case_scores(state.network, [made[0], made[1]], job.losses(), CPU)
    assert len(scores) == 2
    assert len(set(scores)) == 2


def test_members_with_lower_losses_are_told():
    members, others = [-0.1, -0.2, -0.15, -0.12], [-0.5, -0.6, -0.4, -0.7]
    found = membership(members, others)
    assert found.auc.value == found.tpr_at_10_percent.value == 1
    assert not found.reaches_chance
    assert membership(others, [*others]).reaches_chance


def test_too_few_cases_or_figures_that_are_none_say_nothing():
    assert membership([-0.1], [-0.2, -0.3]) is None
    assert membership([-0.1, math.nan], [-0.2, -0.3]) is None
