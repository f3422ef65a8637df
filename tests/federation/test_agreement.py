"""A site answers only for the trainings that its own federation file names."""

from __future__ import annotations

import dataclasses

import pytest

from fednnunet.errors import RefusalError
from fednnunet.federation.messages import (
    EvaluateInvite,
    ModelInvite,
    PrepareInvite,
    ProbeInvite,
    TrainInvite,
    pack,
    unpack,
)
from fednnunet.federation.methods.catalogue import METHODS
from fednnunet.federation.site import Site
from fednnunet.federation.spec import read_federation
from fednnunet.planning.plan import read_plan
from fednnunet.training.initial import initial_tensors
from tests.end_to_end.tiny import TOML, make_federation, make_planned

INVITE = TrainInvite(
    run="", method="fedbn_head", round=0, phase="joint", after=0, iterations=1, begin=0, total=1
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("agreement")
    path = make_federation(root, toml=TOML.replace("device", 'references = ["fedbn"]\ndevice'))
    federation = read_federation(path)
    site = Site("north", federation, root / "run" / "sites" / "north")
    make_planned(path, root / "run")
    plan = read_plan(root / "run" / "plan.json")
    site.answer(pack(PrepareInvite(plan=plan, configuration="3d_fullres")))
    return site, initial_tensors(plan, "3d_fullres", seed=0)


def test_the_methods_of_the_federation_file_are_answered_and_send_their_part_only(place):
    site, tensors = place
    for run, method in (("", "fedbn_head"), ("references/fedbn", "fedbn")):
        shared = METHODS[method].shared(tensors)
        invite = dataclasses.replace(INVITE, run=run, method=method, tensors=shared)
        reply = unpack(site.answer(pack(invite)), sender="north")
        assert reply.tensors.keys() == shared.keys()


@pytest.mark.parametrize(
    ("run", "method"),
    [("", "fedavg"), ("", "fedbn"), ("references/fedbn", "fedavg"), ("../../out", "fedbn_head")],
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
    before = sorted(site.base.parents[2].rglob("*"))
    with pytest.raises(RefusalError, match="did not agree"):
        site.answer(pack(invites[kind]))
    assert sorted(site.base.parents[2].rglob("*")) == before
