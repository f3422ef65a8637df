"""What a site refuses or keeps back, whatever the coordinator asks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site.site import Site
from fednnunet.federation.site.wall import LOG
from fednnunet.federation.spec import read_federation
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    FaultReply,
    ModelInvite,
    PrepareInvite,
    ProbeInvite,
    pack,
    unpack,
)
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.training.initial import initial_tensors
from tests.end_to_end.tiny import TOML, make_federation, make_planned
from tests.federation.site_fakes import INVITE
from tests.training.fakes import small_plan

BASELINES = 'baselines = ["fedbn", {name = "fedprox", mu = 0.5}]\ndevice'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("agreement")
    path = make_federation(root, toml=TOML.replace("device", BASELINES))
    federation = read_federation(path)
    site = Site("north", federation, root / "run" / "sites" / "north")
    make_planned(path, root / "run")
    plan = read_plan(root / "run" / "plan.json")
    site.approve(plan)
    site.answer(pack(PrepareInvite(plan=plan, configuration="3d_fullres")))
    return site, initial_tensors(plan, "3d_fullres", seed=0)


def test_the_methods_of_the_federation_file_are_answered_and_send_their_part_only(place):
    site, tensors = place
    for run, method in (("", "fedbn_head"), ("baselines/fedbn", "fedbn")):
        shared = METHODS[method].shared(tensors)
        invite = dataclasses.replace(INVITE, run=run, method=method, tensors=shared)
        reply = unpack(site.answer(pack(invite)), sender="north")
        assert reply.tensors.keys() == shared.keys()


@pytest.mark.parametrize(
    ("run", "method"),
    [
        ("", "fedavg"),
        ("", "fedbn"),
        ("baselines/fedbn", "fedavg"),
        ("baselines/fedprox_mu=0.5", "fedprox"),
        ("baselines/fedprox_mu=0.5", "fedprox_mu=0.4"),
        ("baselines/fedprox_mu=0.5", "fedprox_mu=0.5_private=norm"),
        ("../../out", "fedbn_head"),
    ],
)
@pytest.mark.parametrize("kind", ["train", "probe", "evaluate", "model"])
def test_any_other_is_refused_and_nothing_is_written(place, run, method, kind):
    site, tensors = place
    invites = {
        "train": dataclasses.replace(INVITE, run=run, method=method, tensors=tensors),
        "probe": ProbeInvite(run=run, method=method, round=1, tensors=tensors),
        "evaluate": EvaluateInvite(run=run, method=method, round=1, personal=True),
        "model": ModelInvite(run=run, method=method, round=1),
    }
    before = set(site.base.parents[2].rglob("*"))
    reply = unpack(site.answer(pack(invites[kind])), sender="north")
    assert isinstance(reply, FaultReply)
    assert (reply.kind, reply.advice) == ("refusal", "same_federation_file")
    written = set(site.base.parents[2].rglob("*")) - before
    assert written <= {site.base / LOG}
    assert f"did not agree to train {method!r}" in (site.base / LOG).read_text()


def a_site(folder: Path, policy: str) -> tuple[Site, Plan]:
    """A site with a plan, whose limits were set after planning."""
    path = make_federation(folder)
    (folder / "north" / "site.toml").write_text(policy)
    federation = read_federation(path)
    site = Site("north", federation, folder / "run" / "sites" / "north")
    plan, _ = small_plan(task=federation.task)
    site.approve(plan)
    return site, plan


def test_too_few_cases_for_its_policy_do_not_train_either(tmp_path):
    site, plan = a_site(tmp_path, "min_cases = 6")
    data = site.answer(pack(PrepareInvite(plan=plan, configuration="3d_fullres")))
    reply = unpack(data, sender="north")
    assert isinstance(reply, FaultReply)
    assert (reply.kind, reply.faults, reply.advice) == ("refusal", 1, "too_few_cases")
    assert "5 cases are fewer than the 6" in (site.base / LOG).read_text()


@pytest.mark.parametrize(("least", "told"), [(1, True), (2, False)])
def test_scores_over_too_few_held_out_cases_stay_at_the_site(tmp_path, least, told):
    site, plan = a_site(tmp_path, f"min_scored_cases = {least}")
    site.answer(pack(PrepareInvite(plan=plan, configuration="3d_fullres")))
    tensors = initial_tensors(plan, "3d_fullres", seed=0)
    shared = METHODS["fedbn_head"].shared(tensors)
    trained = unpack(site.answer(pack(dataclasses.replace(INVITE, tensors=shared))), sender="n")
    assert bool(trained.held_out) is told
    judge = EvaluateInvite(run="", method="fedbn_head", round=3, personal=False, tensors=tensors)
    reply = unpack(site.answer(pack(judge)), sender="north")
    assert reply.scores.cases == (1 if told else 0)
    assert any(sums.dice.count for sums in reply.scores.targets.values()) is told
    kept = (site.base / "held_out" / "global" / "scores.csv").read_text()
    assert len(kept.splitlines()) > 1
