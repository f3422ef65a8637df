"""Names in messages that would lead a site to write or remove folders elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fednnunet.errors import RefusalError
from fednnunet.federation.site.approval import approve
from fednnunet.federation.site.places import inside
from fednnunet.federation.wire.messages import EvaluateInvite, FaultReply, PrepareInvite
from fednnunet.planning.plan import Plan
from tests.attacks.victim import Victim, a_victim

ODD = ("../../..", "..", "/tmp", "a/../../b", "a\\..\\b", ".hidden", "", "a b", "a\0b", "x" * 999)


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return a_victim(tmp_path / "hospital")


def named(plan: Plan, name: str) -> Plan:
    configuration = dataclasses.replace(plan.configurations[0], name=name)
    return dataclasses.replace(plan, configurations=(configuration,))


def all_below(folder: Path) -> set[Path]:
    kept = ("ledger", "site.log")  # with every refusal
    return {path for path in folder.rglob("*") if not path.name.startswith(kept)}


@pytest.mark.parametrize("name", ODD)
def test_a_configuration_that_names_a_folder_elsewhere(name, victim, tmp_path):
    """It made the site write prepared cases there, and remove folders of that name."""
    plan = named(victim.plan, name)
    approve(victim.base, plan, rounds=9999)
    before = all_below(tmp_path)
    reply = victim.ask(PrepareInvite(plan=plan, configuration=name))
    assert isinstance(reply, FaultReply) and reply.kind in ("refusal", "plan")
    assert all_below(tmp_path) == before


@pytest.mark.parametrize("name", ODD)
def test_a_federation_file_with_such_a_configuration_does_not_help(name, tmp_path):
    victim = a_victim(tmp_path / "hospital", configuration=name)
    plan = named(victim.plan, name)
    approve(victim.base, plan, rounds=9999)
    before = all_below(tmp_path)
    reply = victim.ask(PrepareInvite(plan=plan, configuration=name))
    assert isinstance(reply, FaultReply) and reply.kind in ("refusal", "plan")
    assert all_below(tmp_path) == before


@pytest.mark.parametrize("run", ["../../out", "/tmp/out", "baselines/../..", "state"])
def test_a_run_that_names_a_folder_elsewhere(run, victim, tmp_path):
    victim.prepare()
    before = all_below(tmp_path)
    asked = EvaluateInvite(run=run, method="fedbn", round=1, personal=True)
    assert victim.refuses(asked) == "same_federation_file"
    assert victim.refuses(victim.invite(0, run=run)) == "same_federation_file"
    assert all_below(tmp_path) == before


@pytest.mark.parametrize("name", [name for name in ODD if name])
def test_only_names_inside_the_sites_folder_are_places(name, tmp_path):
    with pytest.raises(RefusalError):
        inside(tmp_path, name)


def test_a_link_that_leads_out_is_no_place(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "state").symlink_to(tmp_path)
    with pytest.raises(RefusalError):
        inside(own, "state", "round_0001")


def test_the_names_of_runs_and_configurations_are_places(tmp_path):
    run = "baselines/fedprox_mu=0.5_private=norm+head"
    assert inside(tmp_path, run, "state") == tmp_path / run / "state"
    assert inside(tmp_path, "", "3d_fullres") == tmp_path / "3d_fullres"
