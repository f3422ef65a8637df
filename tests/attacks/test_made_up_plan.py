"""A plan that was made to bring patches home, and other plans that nobody at the site approved."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fednnunet import records
from fednnunet.errors import FedNNUNetError, PlanError, RefusalError
from fednnunet.federation.site.approval import FILE, Approved, approve, plan_digest
from fednnunet.federation.wire.messages import (
    FaultReply,
    MeasureInvite,
    PrepareInvite,
    PrepareReply,
)
from fednnunet.planning.plan import Plan
from tests.attacks.victim import TASK, Victim, a_plan, a_victim


def changed(plan: Plan, **fields: object) -> Plan:
    configuration = dataclasses.replace(plan.configurations[0], **fields)
    return dataclasses.replace(plan, configurations=(configuration,))


def wide_kernels(plan: Plan) -> Plan:
    """Kernels of 2P - 1 voxels, which see the whole patch from everywhere."""
    architecture = plan.configurations[0].architecture
    kernel = tuple(2 * edge - 1 for edge in plan.configurations[0].patch_vox)
    stages = tuple(dataclasses.replace(stage, kernel=kernel) for stage in architecture.stages)
    return changed(plan, architecture=dataclasses.replace(architecture, stages=stages))


MADE_UP = {
    "batch 1": changed(a_plan(), batch=1),
    "kernel 2P-1": wide_kernels(a_plan()),
    "no normalisation": changed(a_plan(), normalisation=("none",)),
    "all three": wide_kernels(changed(a_plan(), batch=1, normalisation=("none",))),
}


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return a_victim(tmp_path)


def prepare(plan: Plan, configuration: str = "3d_fullres") -> PrepareInvite:
    return PrepareInvite(plan=plan, configuration=configuration)


def test_a_plan_that_nobody_approved(victim, tmp_path):
    assert victim.refuses(prepare(victim.plan)) == "approve_plan"
    assert not (tmp_path / "prepared").exists()
    victim.site.approve(victim.plan)
    assert isinstance(victim.ask(prepare(victim.plan)), PrepareReply)


def test_a_plan_that_differs_in_one_number_from_the_approved_one(victim):
    victim.site.approve(victim.plan)
    assert victim.refuses(prepare(changed(victim.plan, batch=3))) == "approve_plan"
    assert victim.refuses(prepare(dataclasses.replace(victim.plan, cases=5))) == "approve_plan"


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_plan_is_refused_even_if_somebody_approved_it(name, victim, tmp_path):
    with pytest.raises(FedNNUNetError) as caught:
        victim.site.approve(MADE_UP[name])
    assert isinstance(caught.value, PlanError) or "faults" in str(caught.value)
    assert not (victim.base / FILE).exists()
    approve(victim.base, MADE_UP[name])
    reply = victim.ask(prepare(MADE_UP[name]))
    assert isinstance(reply, FaultReply) and (reply.kind, reply.advice) == ("plan", "same_plan")
    assert not (tmp_path / "prepared").exists()


def test_a_task_with_one_label_fewer(victim, monkeypatch):
    """Its faults would name every file and count its voxels; now no file is read by it."""
    fewer = dataclasses.replace(TASK, labels=TASK.labels[:-1])
    monkeypatch.setattr(Path, "iterdir", None)
    assert victim.refuses(MeasureInvite(task=fewer)) == "same_federation_file"
    plan = dataclasses.replace(victim.plan, task=fewer)
    assert victim.refuses(prepare(plan)) == "same_federation_file"
    with pytest.raises(RefusalError, match="task"):
        victim.site.approve(plan)


def test_another_configuration_than_the_federation_files(victim):
    both = (*victim.plan.configurations, changed(victim.plan, name="2d").configurations[0])
    plan = dataclasses.replace(victim.plan, configurations=both)
    victim.site.approve(plan)
    assert victim.refuses(prepare(plan, "2d")) == "same_federation_file"


def test_another_plan_on_the_quiet_after_preparation(victim):
    """A record that names a plan is not believed either, when the site starts again."""
    victim.prepare()
    record = victim.base / "prepared.json"
    content = json.loads(record.read_text())
    content["plan"]["configurations"][0]["batch"] = 3
    record.write_text(json.dumps(content))
    again = a_victim(victim.base.parent)
    assert again.refuses(victim.invite(0)) == "approve_plan"


def test_the_approval_is_of_every_field(victim):
    victim.site.approve(victim.plan)
    kept = records.read(Approved, victim.base / FILE)
    assert kept.plan == plan_digest(victim.plan)
    plan, other = victim.plan, dataclasses.replace(victim.plan.intensity[0], mean=0.125)
    variants = [
        changed(plan, batch=3),
        changed(plan, spacing_mm=(2.0, 1.0, 1.0)),
        dataclasses.replace(plan, cases=plan.cases + 1),
        dataclasses.replace(plan, intensity=(other,)),
        dataclasses.replace(plan, norm="batch"),
        dataclasses.replace(plan, transpose=(1, 0, 2)),
        dataclasses.replace(plan, task=dataclasses.replace(plan.task, name="another")),
    ]
    assert len({kept.plan, *map(plan_digest, variants)}) == 1 + len(variants)
