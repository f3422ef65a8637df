"""What a local training job says of its cases."""

from __future__ import annotations

from fednnunet.supervision import SiteSupervision, Supervision
from tests.training.fakes import a_job, small_plan, small_task
from tests.training.mixed import FULL, MIXED, PARTIAL


def test_every_supervision_of_its_cases_is_named_once():
    assert a_job().supervisions == (FULL,)
    assert a_job(supervision=MIXED).supervisions == (FULL, PARTIAL)
    assert a_job(supervision=MIXED, names=("case1",)).supervisions == (PARTIAL,)
    assert a_job(supervision=MIXED, names=("case2", "case0")).supervisions == (FULL,)


def test_there_is_a_loss_for_each_supervision():
    losses = a_job(supervision=MIXED).losses()
    assert losses.keys() == {FULL, PARTIAL}
    assert losses[PARTIAL].targets.groups == ((0, 1), (2,))


def test_voxels_are_left_out_by_the_task_or_by_one_of_its_own_cases():
    plan, configuration = small_plan(task=small_task(ignore=3))
    assert not a_job().ignores
    assert a_job(plan=plan, configuration=configuration).ignores
    own = SiteSupervision(cases={"case1": Supervision(kind="scribble")})
    assert a_job(supervision=own).ignores
    assert not a_job(supervision=own, names=("case0",)).ignores
