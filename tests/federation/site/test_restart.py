"""A site's progress survives a restart of its process, and what is stale is done again."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from fednnunet import io
from fednnunet.federation.site import site as site_module
from fednnunet.federation.site.site import Site
from fednnunet.federation.spec import read_federation
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    EvaluateReply,
    FaultReply,
    FingerprintReply,
    MeasureInvite,
    Message,
    PrepareInvite,
    PrepareReply,
    ShapesInvite,
    ShapesReply,
    TrainReply,
    pack,
    unpack,
)
from fednnunet.planning.plan import Plan, read_plan
from fednnunet.training.initial import initial_tensors
from fednnunet.volume import Volume
from tests.end_to_end.tiny import POLICY, TOML, make_federation, make_planned
from tests.federation.site_fakes import INVITE

SHAPES = ShapesInvite(spacing_mm=(1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hospitals")
    path = make_federation(root, toml=TOML.replace('"fedbn_head"', '"fedavg"'))
    make_planned(path, root / "run")
    return root


@pytest.fixture
def root(planned, tmp_path) -> Path:
    return Path(shutil.copytree(planned, tmp_path / "root"))


def a_site(root: Path) -> Site:
    """The site as a process that begins finds it."""
    return Site("north", read_federation(root / "federation.toml"), root / "base")


def a_plan(root: Path) -> Plan:
    return read_plan(root / "run" / "plan.json")


def ask(site: Site, invite: Message) -> Message:
    return unpack(site.answer(pack(invite)), sender="north")


def measured(root: Path) -> FingerprintReply:
    site = a_site(root)
    reply = ask(site, MeasureInvite(task=a_plan(root).task))
    assert isinstance(reply, FingerprintReply)
    return reply


def counted(*arguments: object, **settings: object) -> None:
    raise AssertionError("cases are measured again")


def test_a_site_that_had_measured_counts_shapes_after_a_restart(root, monkeypatch):
    measured(root)
    same = a_site(root)
    ask(same, MeasureInvite(task=a_plan(root).task))
    before = ask(same, SHAPES)
    monkeypatch.setattr(site_module, "measure_cases", counted)
    after = ask(a_site(root), SHAPES)
    assert isinstance(before, ShapesReply) and isinstance(after, ShapesReply)
    assert torch.equal(before.tensors["sums"], after.tensors["sums"])


def test_a_case_that_changes_does_not_change_what_the_site_has_answered(root):
    policy = POLICY.replace("min_cases = 1", "min_cases = 2", 1)
    (root / "north" / "site.toml").write_text(policy)
    first = measured(root)
    before = ask(a_site(root), SHAPES)
    image = root / "north" / "imagesTr" / "case_0_0000.nii.gz"
    label = root / "north" / "labelsTr" / "case_0.nii.gz"
    volume, mask = io.read_volume([image]), io.read_label(label)
    io.write_volume(Volume(array=volume.array[:, :9], geometry=volume.geometry), image)
    io.write_mask(mask.array[0, :9].astype("uint8"), mask.geometry, label)
    assert torch.equal(measured(root).tensors["sums"], first.tensors["sums"])
    after = ask(a_site(root), SHAPES)
    assert isinstance(before, ShapesReply) and isinstance(after, ShapesReply)
    assert torch.equal(before.tensors["sums"], after.tensors["sums"])
    assert "1 cases were added or removed" in (root / "base" / "site.log").read_text()


def test_shapes_are_counted_at_one_spacing_only(root):
    measured(root)
    ask(a_site(root), SHAPES)
    reply = ask(a_site(root), ShapesInvite(spacing_mm=(1.0, 1.0, 1.01)))
    assert isinstance(reply, FaultReply)
    assert (reply.kind, reply.advice) == ("refusal", "answered_once")


def test_a_site_that_has_not_measured_asks_for_the_fingerprint_first(root):
    reply = ask(a_site(root), SHAPES)
    assert isinstance(reply, FaultReply)
    assert (reply.kind, reply.advice) == ("refusal", "ask_to_measure_first")


def test_before_anything_was_prepared_the_site_asks_for_the_plan(root):
    reply = ask(a_site(root), INVITE_FEDAVG)
    assert isinstance(reply, FaultReply)
    assert (reply.kind, reply.advice) == ("input", "send_plan_first")


INVITE_FEDAVG = dataclasses.replace(INVITE, method="fedavg")


def test_a_site_that_had_prepared_trains_and_evaluates_after_a_restart(root):
    plan = a_plan(root)
    tensors = initial_tensors(plan, "3d_fullres", seed=0)
    invite = dataclasses.replace(INVITE_FEDAVG, tensors=tensors)
    first = a_site(root)
    first.approve(plan)
    assert isinstance(
        ask(first, PrepareInvite(plan=plan, configuration="3d_fullres")), PrepareReply
    )
    shutil.copytree(root / "base", root / "as_prepared")
    whole = ask(first, invite)
    shutil.rmtree(root / "base")
    (root / "as_prepared").rename(root / "base")
    again = ask(a_site(root), invite)
    assert isinstance(whole, TrainReply) and isinstance(again, TrainReply)
    assert all(torch.equal(tensor, again.tensors[n]) for n, tensor in whole.tensors.items())
    judge = EvaluateInvite(run="", method="fedavg", round=2, personal=False, tensors=tensors)
    assert isinstance(ask(a_site(root), judge), EvaluateReply)
