"""The two exchanges that lead to a plan, over sites that answer at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fednnunet.errors import FedNNUNetError, PlanError
from fednnunet.federation.coordinator.engine import Answer
from fednnunet.federation.spec import Budget, Federation, SiteSpec
from fednnunet.federation.wire.messages import FingerprintReply, MeasureInvite, ShapesReply
from fednnunet.federation.workflows.plan import plan_together
from fednnunet.planning.fingerprint import Fingerprint
from fednnunet.planning.planner import make_plan
from fednnunet.planning.shapes import ShapeSketch
from tests.planning.cases import TASK, exchanges, make_cases

CASES = make_cases(9)
PARTS = {"a": CASES[:2], "b": CASES[2:5], "c": CASES[5:]}


def federation(**memory_gib: float) -> Federation:
    sites = {name: SiteSpec(folder=Path(name), memory_gib=memory_gib.get(name)) for name in PARTS}
    return Federation(task=TASK, sites=sites, budget=Budget(planner="plain"))


class Measuring:
    """Sites that hold `PARTS`; `change` may alter a site's sums on their way."""

    sites = tuple(PARTS)

    def __init__(self, change=lambda site, sums: {"sums": sums}, backwards=False):
        self.change, self.backwards = change, backwards

    def ask(self, invites, deadline):
        for site in sorted(invites, reverse=self.backwards):
            invite, cases = invites[site], PARTS[site]
            if isinstance(invite, MeasureInvite):
                vector, kind = Fingerprint.of(invite.task, cases).to_vector(), FingerprintReply
            else:
                pairs = [(case.spacing_mm, case.shape_vox) for case in cases]
                sketch = ShapeSketch.of_cases(invite.spacing_mm, pairs)
                vector, kind = sketch.to_vector(), ShapesReply
            tensors = self.change(site, torch.from_numpy(vector))
            yield Answer(site=site, reply=kind(tensors=tensors))


@pytest.mark.parametrize("backwards", [False, True])
def test_the_plan_is_that_of_all_cases_in_one_place(backwards):
    found = plan_together(Measuring(backwards=backwards), federation())
    fingerprint, shapes = exchanges(CASES)
    assert found.fingerprint.vector.tobytes() == fingerprint.vector.tobytes()
    assert found.shapes.counts.tobytes() == shapes.counts.tobytes()
    labels = dict.fromkeys(PARTS, TASK.labels[1:])
    pooled = make_plan(fingerprint, shapes, planner="plain", site_labels=labels)
    assert found.plan == pooled
    assert found.plan.cases == 9


def test_every_sites_memory_counts(monkeypatch):
    fingerprint, shapes = exchanges(CASES)
    labels = dict.fromkeys(PARTS, TASK.labels[1:])
    found = plan_together(Measuring(), federation(a=24.0, b=8.0))
    memory = (24.0, 8.0, 24.0)  # one that says nothing has what the largest has
    assert found.plan == make_plan(
        fingerprint, shapes, planner="plain", memory_gib=memory, site_labels=labels
    )


def test_faults_of_all_sites_come_at_once():
    def spoil(site, sums):
        return {"sums": sums if site == "b" else torch.full_like(sums, np.nan)}

    with pytest.raises(FedNNUNetError, match="cannot be planned") as caught:
        plan_together(Measuring(spoil), federation())
    told = str(caught.value)
    assert "site a" in told and "site c" in told and "site b" not in told


def test_a_reply_with_more_than_its_sums_is_refused():
    def more(site, sums):
        return {"sums": sums, "case_7": sums}

    with pytest.raises(FedNNUNetError, match="not only its sums"):
        plan_together(Measuring(more), federation())


def test_a_site_that_annotates_some_labels_stands_in_the_plan_with_them():
    whole = federation()
    partial = replace(whole.sites["b"], labels="partial", annotated=("tumour",))
    found = plan_together(Measuring(), replace(whole, sites={**whole.sites, "b": partial}))
    assert found.plan.site_labels["b"] == ("tumour",)
    assert found.plan.site_labels["a"] == ("organ", "tumour")


def unlabelled(*columns):
    """A change of sums, as of sites whose labels say nothing of these classes."""

    def change(site, sums):
        found = Fingerprint.from_vector(TASK, sums.numpy().copy())
        found.block("label_kinds")[:, list(columns)] = 0
        return {"sums": torch.from_numpy(found.vector)}

    return change


def test_a_class_that_nobody_annotates_is_refused_by_its_name():
    with pytest.raises(PlanError, match="no site annotates tumour"):
        plan_together(Measuring(unlabelled(2)), federation())


def test_a_federation_without_any_labels_is_refused_with_one_message():
    with pytest.raises(PlanError, match="no site has any labels"):
        plan_together(Measuring(unlabelled(1, 2)), federation())


def test_a_site_that_is_agreed_to_annotate_a_class_may_have_few_such_cases():
    whole = federation()
    partial = replace(whole.sites["b"], labels="partial", annotated=("tumour",))
    changed = replace(whole, sites={**whole.sites, "b": partial})

    class Sums(Measuring):
        def ask(self, invites, deadline):
            first = isinstance(next(iter(invites.values())), MeasureInvite)
            self.change = unlabelled(2) if first else lambda site, sums: {"sums": sums}
            return super().ask(invites, deadline)

    assert plan_together(Sums(), changed).plan.cases == 9
